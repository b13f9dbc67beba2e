import { CniError, errorCode } from "../cni/index.ts";
import { DatastoreError, type DatastoreErrorCode } from "../datastore/index.ts";
import { IpamError, type IpamErrorCode } from "../ipam/index.ts";
import { SysError } from "../sys/index.ts";
import { VethError, type VethErrorCode } from "../veth/index.ts";

const DATASTORE: Readonly<Record<DatastoreErrorCode, number>> = {
  UNAVAILABLE: errorCode.tryAgainLater,
  CONFLICT: errorCode.tryAgainLater,
  EXISTS: errorCode.tryAgainLater,
  NOT_FOUND: errorCode.tryAgainLater,
  UNAUTHORIZED: errorCode.datastore,
  FULL: errorCode.datastore,
  CORRUPT: errorCode.datastore,
  INVALID: errorCode.datastore,
  UNSUPPORTED: errorCode.datastore,
  CONFIG: errorCode.invalidConfiguration,
};

const IPAM: Readonly<Partial<Record<IpamErrorCode, number>>> = {
  IPAM_CONFLICT: errorCode.tryAgainLater,
  IPAM_CORRUPT: errorCode.datastore,
  IPAM_ADDRESS_IN_USE: errorCode.taken,
};

const VETH: Readonly<Record<VethErrorCode, number>> = {
  INVALID: errorCode.invalidConfiguration,
  HOST_INTERFACE_TAKEN: errorCode.taken,
  CONTAINER_INTERFACE_TAKEN: errorCode.taken,
  NETNS: errorCode.invalidEnvironment,
  NO_IPV6: errorCode.network,
  ROUTE_CONFLICT: errorCode.taken,
  KERNEL: errorCode.network,
};

/**
 * What a runtime is told about an error of the folders below: a code, what failed, and what they say would help. An
 * error that none of them made on purpose comes back as it is, for the outermost catch.
 */
export function asFailure(error: unknown, what: string): unknown {
  if (error instanceof DatastoreError) {
    return new CniError(DATASTORE[error.code], `${what}: ${error.message}`, "", { cause: error });
  }
  if (error instanceof IpamError) {
    const reasons = error.pools.map((pool) => `${pool.pool} (${pool.cidr}): ${pool.reason}`).join("; ");
    return new CniError(IPAM[error.code] ?? errorCode.addresses, `${what}: ${error.message}`, reasons, {
      cause: error,
    });
  }
  if (error instanceof VethError) {
    const key = error.code === "NETNS" ? "CNI_NETNS is of no use: " : "";
    return new CniError(VETH[error.code], `${what}: ${key}${error.message}`, "", { cause: error });
  }
  if (error instanceof SysError)
    return new CniError(errorCode.network, `${what}: ${error.message}`, "", { cause: error });
  return error;
}

/** Runs a step and says of its errors what was being done. */
export async function step<T>(what: string, action: () => T | Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw asFailure(error, what);
  }
}
