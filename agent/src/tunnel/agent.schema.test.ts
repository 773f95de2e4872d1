import { buildSchema, lexicographicSortSchema, printSchema } from 'graphql';
import { describe, expect, it } from 'vitest';
import { AGENT_SDL } from '../embedded.ts';
import { AgentRoot } from './agent.schema.ts';

describe('the private schema', () => {
  const schema = buildSchema(AGENT_SDL);

  it('is written as it would be printed, sorted', () => {
    expect(AGENT_SDL).toBe(`${printSchema(lexicographicSortSchema(schema))}\n`);
  });

  it('has a resolver for every root field', () => {
    const fields = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()].flatMap((type) =>
      Object.keys(type?.getFields() ?? {}),
    );
    for (const field of fields) expect(AgentRoot.prototype).toHaveProperty(field);
  });
});
