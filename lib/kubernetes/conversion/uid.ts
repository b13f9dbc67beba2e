/** A UUID, also in braces or with urn:uuid: before it, as Go Calico's UUID library takes it. */
const UUID = /^(urn:uuid:|\{)?([\da-f]{8})-([\da-f]{4})-([\da-f]{4})-([\da-f]{4})-([\da-f]{12})(\})?$/i;
/** Its digits alone. */
const BARE = /^[\da-f]{32}$/i;

/**
 * The uid of an object that is made of another: equal uids would confuse Kubernetes' garbage collector. The bits of every byte are
 * reversed, except those of bytes 6 and 8, which hold a UUID's version and variant. Its own inverse. Undefined for what is no UUID.
 */
export function convertUid(uid: string): string | undefined {
  const match = UUID.exec(uid);
  const isPaired = match && (match[1] === "{") === (match[7] === "}");
  const hex = isPaired ? match.slice(2, 7).join("") : BARE.test(uid) ? uid : undefined;
  if (hex === undefined) return undefined;
  let text = "";
  for (let i = 0; i < 16; i++) {
    const byte = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
    text += (i === 6 || i === 8 ? byte : reverse(byte)).toString(16).padStart(2, "0");
    if (i === 3 || i === 5 || i === 7 || i === 9) text += "-";
  }
  return text;
}

function reverse(byte: number): number {
  let reversed = 0;
  for (let bit = 0; bit < 8; bit++) reversed |= ((byte >> bit) & 1) << (7 - bit);
  return reversed;
}
