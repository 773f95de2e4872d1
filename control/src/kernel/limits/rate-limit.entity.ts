import { defineEntity, p } from '@mikro-orm/core';

/** Counters of attempts, shared by all replicas; in the form that `rate-limiter-flexible` writes. */
export const RateLimitSchema = defineEntity({
  name: 'RateLimit',
  tableName: 'rate_limits',
  properties: {
    key: p.string().length(255).primary(),
    points: p.integer().default(0),
    /** When the counter starts again, in ms since 1970. */
    expire: p.bigint('number').nullable(),
  },
});

export class RateLimit extends RateLimitSchema.class {}
RateLimitSchema.setClass(RateLimit);
