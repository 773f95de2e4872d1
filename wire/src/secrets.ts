import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** A fresh 256-bit secret in base64url, with a prefix by which people and scanners know its kind. */
export const newSecret = (prefix: string): string => `${prefix}_${randomBytes(32).toString('base64url')}`;

/** SHA-256 of a text, base64url. Secrets of 256 bits need no slow hash. */
export const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url');

/** Compares two secrets in constant time. */
export const secretsEqual = (a: string, b: string): boolean =>
  timingSafeEqual(Buffer.from(sha256(a)), Buffer.from(sha256(b)));
