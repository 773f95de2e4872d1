import { sha256 } from '@rookery/wire/secrets.ts';
import { calculateJwkThumbprint, compactVerify, importJWK } from 'jose';
import { RookeryError } from '@rookery/wire/errors.ts';

/** What a proof says, besides that its sender has the key. */
export interface Proof {
  /** The key's thumbprint (RFC 7638). */
  readonly jkt: string;
  readonly sequence: number;
}

/**
 * Checks that whoever sent a token holds the key: a compact JWS over the purpose, the token's hash and
 * the request's sequence. It carries no time, so that a machine with a wrong clock can still join.
 *
 * @param publicKey raw Ed25519 public key, base64url.
 * @throws {RookeryError} `UNAUTHENTICATED` with reason `PROOF_INVALID`.
 */
export async function verifyProof(
  publicKey: string,
  proof: string,
  purpose: 'register' | 'refresh',
  token: string,
): Promise<Proof> {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: publicKey };
  try {
    const { payload } = await compactVerify(proof, await importJWK(jwk, 'EdDSA'), { algorithms: ['EdDSA'] });
    const claims = JSON.parse(new TextDecoder().decode(payload)) as Record<string, unknown>;
    const { seq } = claims;
    const isGood = claims['purpose'] === purpose && claims['token_sha256'] === sha256(token);
    if (isGood && typeof seq === 'number' && Number.isSafeInteger(seq) && seq >= 0)
      return { jkt: await calculateJwkThumbprint(jwk), sequence: seq };
  } catch {
    // Told apart from a mismatch by nobody.
  }
  throw new RookeryError('UNAUTHENTICATED', 'The proof of possession of the host’s key is not valid.', {
    reason: 'PROOF_INVALID',
    retryable: false,
  });
}
