import { describe, expect, it } from 'vitest';
import { closeCode, RETRY_AT_MOST_MS, retryDelay } from './connection.ts';

describe('the retry delay', () => {
  it('grows, is jittered downwards by at most half, and never passes its limit', () => {
    expect(retryDelay(0, () => 0)).toBe(150);
    expect(retryDelay(0, () => 1)).toBe(300);
    expect(retryDelay(2, () => 1)).toBe(1_200);
    expect(retryDelay(50, () => 1)).toBe(RETRY_AT_MOST_MS);
    expect(retryDelay(50, () => 0)).toBe(RETRY_AT_MOST_MS / 2);
  });
});

describe('the close code', () => {
  it('is read from close events only', () => {
    expect(closeCode({ code: 4401 })).toBe(4401);
    expect(closeCode({ code: 'x' })).toBeUndefined();
    expect(closeCode(new Error('nope'))).toBeUndefined();
    expect(closeCode(null)).toBeUndefined();
  });
});
