import { describe, expect, it } from 'vitest';
import { ApiError, describeError, isUnauthenticated, isUsable } from './errors.ts';

const failure = (code: string) => ({ message: `failed: ${code}`, extensions: { code } });

describe('an API error', () => {
  it('is about the session when any of the errors is', () => {
    const error = ApiError.fromGraphQL([failure('INTERNAL'), failure('UNAUTHENTICATED')]);
    expect(isUnauthenticated(error)).toBe(true);
    expect(error.retryable).toBe(false);
  });

  it('is internal when the server says nothing about it', () => {
    expect(ApiError.fromGraphQL([])).toMatchObject({ code: 'INTERNAL', retryable: true });
  });

  it('is told in words, and an unknown throw gives nothing away', () => {
    expect(describeError(new ApiError('NETWORK', 'fetch failed'))).toBe('The server cannot be reached.');
    expect(describeError(new ApiError('BAD_USER_INPUT', 'name is too long'))).toBe('name is too long');
    expect(describeError(new TypeError('x is undefined'))).not.toContain('undefined');
  });
});

describe('an answer with errors', () => {
  it('is usable when every root field is there, as when a join failed', () => {
    expect(isUsable({ hosts: { edges: [] } }, [failure('UNAVAILABLE')])).toBe(true);
  });

  it.each([
    ['nothing came', null],
    ['a root field is null', { hosts: null }],
  ])('is not usable when %s', (_, data) => expect(isUsable(data, [failure('INTERNAL')])).toBe(false));

  it('is not usable when the session is over', () => {
    expect(isUsable({ hosts: {} }, [failure('UNAUTHENTICATED')])).toBe(false);
  });
});
