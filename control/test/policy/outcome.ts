import type { FormattedExecutionResult } from 'graphql';

/**
 * What an attempt comes to, as far as rights go. `ALLOWED` includes failures that only someone who
 * may do the thing is told of: no host fits, the last owner cannot go.
 */
export type Outcome =
  | 'ALLOWED'
  /** There is no such thing; or nothing of it is in the list, or the field is null. */
  | 'NOT_FOUND'
  /** It is there, but one may not do this to it. */
  | 'NOT_PERMITTED'
  | 'UNAUTHENTICATED'
  | 'FORBIDDEN';

/** Reads the outcome of an operation whose root field is called `r`. */
export function outcomeOf({ data, errors }: FormattedExecutionResult): Outcome {
  const code = errors?.[0]?.extensions?.['code'];
  if (code === 'UNAUTHENTICATED' || code === 'FORBIDDEN') return code;
  if (errors) throw new Error(`an unexpected error: ${JSON.stringify(errors)}`);
  const found = (data as { r?: unknown } | null | undefined)?.r;
  const type = (found as { __typename?: string } | null | undefined)?.__typename;
  if (type === 'NotFound') return 'NOT_FOUND';
  if (type === 'NotPermitted') return 'NOT_PERMITTED';
  return isNothing(found) ? 'NOT_FOUND' : 'ALLOWED';
}

function isNothing(found: unknown): boolean {
  if (found === null || found === undefined) return true;
  if (Array.isArray(found)) return found.every(isNothing);
  if (typeof found === 'object' && 'totalCount' in found && 'edges' in found) {
    // A count that says more than the list is a leak of its own.
    const { totalCount, edges } = found as { totalCount: number; edges: unknown[] };
    if (totalCount !== edges.length) throw new Error(`a list of ${edges.length} claims to have ${totalCount}`);
    return totalCount === 0;
  }
  if (typeof found === 'object' && 'edges' in found) return (found as { edges: unknown[] }).edges.length === 0;
  // A thing of which the asked-for part is missing.
  return typeof found === 'object' && !('__typename' in found) && Object.values(found).every(isNothing);
}
