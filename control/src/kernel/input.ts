import { z } from 'zod';
import { InvalidInput } from './user-errors.ts';

/**
 * Checks a mutation's input against its schema.
 *
 * @throws {InvalidInput} naming the first field that is wrong, in words for people.
 */
export function parseInput<T extends z.ZodType>(schema: T, input: unknown): z.output<T> {
  const nul = pathOfNul(input);
  if (nul) throw new InvalidInput(`${nul.join('.')}: must not hold a NUL character`, ['input', ...nul]);
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = (issue?.path ?? []).map(String);
  throw new InvalidInput(`${path.join('.') || 'input'}: ${issue?.message ?? 'not valid'}`, ['input', ...path]);
}

/** Where in an input a text holds U+0000, which PostgreSQL does not store. */
function pathOfNul(value: unknown): string[] | undefined {
  if (typeof value === 'string') return value.includes('\u0000') ? [] : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    const path = pathOfNul(inner);
    if (path) return [key, ...path];
  }
  return undefined;
}

/** Field types that inputs share. */
export const inputField = {
  /** A name for people and scripts: 1–63 characters of a–z, 0–9, `-`, `_`, `.`, starting with a letter or digit. */
  name: () =>
    z
      .string()
      .trim()
      .min(1, 'must not be empty')
      .max(63, 'must have at most 63 characters')
      .regex(
        /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/i,
        'may hold letters, digits, "-", "_" and "."; it starts and ends with a letter or digit',
      ),
  text: (max: number) => z.string().trim().min(1, 'must not be empty').max(max, `must have at most ${max} characters`),
  labels: () =>
    z
      .array(
        z.object({
          key: z.string().regex(/^[a-z0-9]([a-z0-9./_-]{0,61}[a-z0-9])?$/i, 'is not a valid label key'),
          value: z.string().max(255),
        }),
      )
      .max(32, 'at most 32 labels')
      .refine((labels) => new Set(labels.map(({ key }) => key)).size === labels.length, 'a label key appears twice'),
  idempotencyKey: () => z.string().min(1).max(255),
};
