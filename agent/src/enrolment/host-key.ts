import { generateKeyPair, createHash, sign, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { readFileIfThere, writeFileAtomic } from '@rookery/wire/files.ts';

/**
 * The Ed25519 key that is this host. It never leaves the machine: control knows its public half and
 * sees proofs of the private one.
 */
export class HostKey {
  readonly #privateKey: KeyObject;
  /** The raw public key (32 bytes), base64url. */
  readonly publicKey: string;

  private constructor(privateKey: KeyObject) {
    this.#privateKey = privateKey;
    const jwk = createPublicKey(privateKey).export({ format: 'jwk' });
    if (jwk.crv !== 'Ed25519' || jwk.x === undefined) throw new Error('the host key is not an Ed25519 key');
    this.publicKey = jwk.x;
  }

  /** A goodbye: proves that it is the host itself which gives up what an access token stands for. */
  signGoodbye(accessToken: string): string {
    const payload = { purpose: 'leave', token_sha256: createHash('sha256').update(accessToken).digest('base64url') };
    const signed = `${encode({ alg: 'EdDSA' })}.${encode(payload)}`;
    return `${signed}.${sign(null, Buffer.from(signed), this.#privateKey).toString('base64url')}`;
  }

  /** Reads the key, or makes one and writes it (0600) before it is used for anything. */
  static async openOrCreate(path: string): Promise<HostKey> {
    const saved = await readFileIfThere(path);
    if (saved !== undefined) return new HostKey(createPrivateKey({ key: JSON.parse(saved), format: 'jwk' }));
    const { privateKey } = await promisify(generateKeyPair)('ed25519');
    await writeFileAtomic(path, JSON.stringify(privateKey.export({ format: 'jwk' })));
    return new HostKey(privateKey);
  }

  /**
   * Proves possession of the key together with a token: a compact JWS (EdDSA).
   *
   * @param sequence from a `RequestSequence`; another one for each request.
   */
  prove(purpose: 'register' | 'refresh', token: string, sequence: number): string {
    const payload = {
      purpose,
      token_sha256: createHash('sha256').update(token).digest('base64url'),
      seq: sequence,
    };
    const signed = `${encode({ alg: 'EdDSA' })}.${encode(payload)}`;
    return `${signed}.${sign(null, Buffer.from(signed), this.#privateKey).toString('base64url')}`;
  }
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
