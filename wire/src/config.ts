import { z } from 'zod';
import { StartupError } from './errors.ts';

/**
 * Reads a process's configuration from its environment once, and freezes it.
 *
 * Empty variables count as unset, as in a `.env` file with nothing behind the `=`.
 *
 * @throws {StartupError} naming every variable that is wrong, in one sentence.
 */
export function readConfig<T extends z.ZodType>(
  schema: T,
  env: Readonly<Record<string, string | undefined>>,
): Readonly<z.output<T>> {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''));
  const parsed = schema.safeParse(set);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new StartupError(`The configuration is not valid: ${problems.join('; ')}.`);
  }
  return Object.freeze(parsed.data as z.output<T> & object) as Readonly<z.output<T>>;
}

/** Field types that configuration schemas share. */
export const configField = {
  port: (fallback: number) => z.coerce.number('must be a port number').int().min(0).max(65_535).default(fallback),
  logLevel: () => z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  /** A whole number of milliseconds. */
  milliseconds: (fallback: number) => z.coerce.number().int().min(1).default(fallback),
  /** A whole number of seconds, at most ten years. */
  seconds: (fallback: number) => z.coerce.number().int().min(1).max(315_360_000).default(fallback),
  /** `true`, `1`, `yes`, `on` or the opposites. */
  flag: (fallback: boolean) => z.stringbool().default(fallback),
};
