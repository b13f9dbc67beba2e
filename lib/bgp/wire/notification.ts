/** NOTIFICATION (RFC 4271 4.5) with the words of an administrator (RFC 9003, which replaces 8203) and hard resets (RFC 8538 3). */
import { frame, MAX_LENGTH, MESSAGE } from "./message.ts";
import { ERROR, type Notification } from "./types.ts";
import { CEASE } from "./words.ts";

/** RFC 9003 2: the length field is one byte, and all of it may be used. */
const MOST_TEXT = 255;

/** `body` is the message without its header. There is no error that could be sent back (RFC 4271 6.4): what is short counts as 0. */
export function decodeNotification(body: Uint8Array): Notification {
  const code = body[0] ?? 0;
  const subcode = body[1] ?? 0;
  const data = body.slice(2);
  const hard = code === ERROR.CEASE && subcode === CEASE.HARD_RESET && data.length >= 2;
  const text = hard ? shutdownText(data[0]!, data[1]!, data.subarray(2)) : shutdownText(code, subcode, data);
  return text === undefined ? { code, subcode, data } : { code, subcode, data, text };
}

/** The NOTIFICATION within a hard reset (RFC 8538 3); undefined: it is none. */
export function innerNotification(notification: Notification): Notification | undefined {
  const { code, subcode, data } = notification;
  if (code !== ERROR.CEASE || subcode !== CEASE.HARD_RESET || data.length < 2) return undefined;
  return decodeNotification(data);
}

/** A whole message. `text` is sent where it has a place, instead of `data`; data that would not fit is cut. */
export function encodeNotification(notification: Notification): Uint8Array {
  const { code, subcode, text } = notification;
  const data = text !== undefined && carriesText(code, subcode) ? textBytes(text) : notification.data;
  // RFC 4271 4.5 has no other length than the message's.
  const most = MAX_LENGTH - 19 - 2;
  const body = new Uint8Array(2 + Math.min(data.length, most));
  body[0] = code;
  body[1] = subcode;
  body.set(data.length > most ? data.subarray(0, most) : data, 2);
  return frame(MESSAGE.NOTIFICATION, body);
}

/** RFC 9003 2: Administrative Shutdown and Administrative Reset. */
function carriesText(code: number, subcode: number): boolean {
  return code === ERROR.CEASE && (subcode === CEASE.ADMINISTRATIVE_SHUTDOWN || subcode === CEASE.ADMINISTRATIVE_RESET);
}

function shutdownText(code: number, subcode: number, data: Uint8Array): string | undefined {
  if (!carriesText(code, subcode) || data.length < 1) return undefined;
  const length = data[0]!;
  if (length === 0 || length > data.length - 1) return undefined;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(data.subarray(1, 1 + length));
    return clean(text) || undefined;
  } catch {
    // RFC 9003 3: what is not UTF-8 is for the log at most.
    return undefined;
  }
}

/** The other's words end up in logs and on terminals: no control characters, no change of writing direction (RFC 9003 5). */
function clean(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, " ").trim();
}

function textBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(1 + MOST_TEXT);
  // Whole characters only.
  const { written } = new TextEncoder().encodeInto(text, bytes.subarray(1));
  bytes[0] = written;
  return bytes.subarray(0, 1 + written);
}
