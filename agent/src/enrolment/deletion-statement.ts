import { createPublicKey, verify } from 'node:crypto';
import type { ControlKey } from './credential.store.ts';

const TYPE = 'rookery-host-deleted+jws';
const ISSUER = 'rookery';
const AUDIENCE = 'rookery-agent-channel';

/**
 * Whether control has said, signed, that a host was deleted. Control says it once by each of its keys;
 * one that this host was given with its credentials is enough.
 *
 * @param statements compact JWS (EdDSA); anything else among them proves nothing.
 */
export function provesDeletion(statements: unknown, hostId: string, keys: readonly ControlKey[]): boolean {
  if (!Array.isArray(statements)) return false;
  return statements.some((statement) => typeof statement === 'string' && proves(statement, hostId, keys));
}

function proves(statement: string, hostId: string, keys: readonly ControlKey[]): boolean {
  const [header = '', payload = '', signature = '', ...rest] = statement.split('.');
  if (rest.length > 0) return false;
  try {
    const { alg, kid, typ } = decode(header);
    const key = keys.find((candidate) => candidate.kid === kid);
    if (alg !== 'EdDSA' || typ !== TYPE || !key) return false;
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: key.publicKey }, format: 'jwk' });
    const signed = Buffer.from(`${header}.${payload}`);
    if (!verify(null, signed, publicKey, Buffer.from(signature, 'base64url'))) return false;
    const { iss, aud, sub } = decode(payload);
    return iss === ISSUER && aud === AUDIENCE && sub === hostId;
  } catch {
    return false;
  }
}

const decode = (part: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as Record<string, unknown>;
