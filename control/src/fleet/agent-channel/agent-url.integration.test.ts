import { parse } from 'graphql';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';
import { startTestControl } from '../../../test/harness.ts';
import { joinCommand } from '../hosts/host.service.ts';
import { isAgentBuilt } from './agent-bundle.ts';
import { AgentUrlCheck } from './agent-url.ts';

describe('the address in join commands', () => {
  let server: Server | undefined;
  let asked = 0;

  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  /** Something that answers on every address of this machine. */
  async function answering(status: number, type: string): Promise<number> {
    asked = 0;
    server = createServer((_request, response) => {
      asked += 1;
      response.writeHead(status, { 'content-type': type }).end('x'.repeat(100_000));
    });
    await new Promise<void>((resolve) => server?.listen(0, '0.0.0.0', resolve));
    return (server.address() as AddressInfo).port;
  }

  const codes = async (url: string) => (await new AgentUrlCheck(() => url).warnings()).map(({ code }) => code);

  it('is fine when the agent can be downloaded there, from anywhere', async () => {
    const own = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .find(({ family, internal }) => family === 'IPv4' && !internal);
    const port = await answering(200, 'text/javascript');
    expect(await codes(`http://${own?.address ?? '127.0.0.1'}:${port}`)).toEqual(own ? [] : ['AGENT_URL_LOCAL']);
  });

  it.each([
    ['nothing can be reached but this machine itself', 200, 'text/javascript', ['AGENT_URL_LOCAL']],
    ['the agent was not built', 503, 'application/json', ['AGENT_NOT_BUILT', 'AGENT_URL_LOCAL']],
    ['something else answers', 200, 'text/html', ['AGENT_URL_UNREACHABLE', 'AGENT_URL_LOCAL']],
    ['a proxy has nothing behind it', 502, 'text/html', ['AGENT_URL_UNREACHABLE', 'AGENT_URL_LOCAL']],
  ])('is warned of when %s', async (_what, status, type, expected) => {
    expect(await codes(`http://localhost:${await answering(status, type)}`)).toEqual(expected);
  });

  it('is warned of when nothing answers, with what would help', async () => {
    const port = await answering(200, 'text/javascript');
    server?.close();
    const [warning] = await new AgentUrlCheck(() => `http://127.0.0.1:${port}`).warnings();
    expect(warning).toMatchObject({
      code: 'AGENT_URL_UNREACHABLE',
      message: expect.stringContaining('ROOKERY_AGENT_URL'),
    });
    expect(await codes('http://no-such-host.invalid:4001')).toEqual(['AGENT_URL_UNREACHABLE']);
  });

  it('is answered for beside the join command that names it', async () => {
    await using control = await startTestControl({ ROOKERY_AGENT_URL: 'http://127.0.0.1:1' });
    const ask = async <T>(subgraph: string, text: string, input: object, token?: string) => {
      const document = parse(text);
      const { data, errors } = (await control.execute(subgraph, { document, variables: { input } }, { token })) as {
        data?: T;
        errors?: unknown;
      };
      if (!data) throw new Error(JSON.stringify(errors));
      return data;
    };
    const { signIn } = await ask<{ signIn: { token: string } }>(
      'accounts',
      'mutation ($input: SignInInput!) { signIn(input: $input) { ... on SignedIn { token } ... on UserError { message } } }',
      { email: 'admin@rookery.local', password: 'correct horse' },
    );
    const created = await ask<{ createHost: { host: { id: string } } }>(
      'fleet',
      `mutation ($input: CreateHostInput!) { createHost(input: $input) {
        ... on HostCreated { host { id } joinCommand warnings { code message } } ... on UserError { message }
      } }`,
      { name: 'nest', kind: 'PLATFORM' },
      signIn.token,
    );
    const again = await ask<{ regenerateHostToken: object }>(
      'fleet',
      `mutation ($input: RegenerateHostTokenInput!) { regenerateHostToken(input: $input) {
        ... on HostTokenRegenerated { joinCommand warnings { code message } } ... on UserError { message }
      } }`,
      { hostId: created.createHost.host.id },
      signIn.token,
    );
    // Whether there is an agent to hand out depends on whether it was built for these tests.
    const missing = (await isAgentBuilt()) ? [] : [{ code: 'AGENT_NOT_BUILT' }];
    for (const payload of [created.createHost, again.regenerateHostToken])
      expect(payload).toMatchObject({
        joinCommand: expect.stringContaining(' join http://127.0.0.1:1 '),
        warnings: [{ code: 'AGENT_URL_UNREACHABLE' }, ...missing, { code: 'AGENT_URL_LOCAL' }],
      });
  });

  it.each([
    ['is not built here, whatever answers at the address', 200, 'text/javascript', ['AGENT_NOT_BUILT']],
    ['is not built here, and nothing good answers', 502, 'text/html', ['AGENT_URL_UNREACHABLE', 'AGENT_NOT_BUILT']],
    ['is not built, as said from there as well', 503, 'application/json', ['AGENT_NOT_BUILT']],
  ])('is warned of when the agent %s', async (_what, status, type, expected) => {
    const port = await answering(status, type);
    const warnings = await new AgentUrlCheck(
      () => `http://localhost:${port}`,
      async () => false,
    ).warnings();
    expect(warnings.map(({ code }) => code)).toEqual([...expected, 'AGENT_URL_LOCAL']);
  });

  it('is asked once for many hosts', async () => {
    const port = await answering(200, 'text/javascript');
    const check = new AgentUrlCheck(() => `http://127.0.0.1:${port}`);
    await Promise.all(Array.from({ length: 20 }, () => check.warnings()));
    expect(asked).toBe(1);
  });

  it('is kept away from the shell’s own meaning of its characters', () => {
    expect(joinCommand('https://control.example', 'rkt_x')).toBe(
      'curl -fsSL https://control.example/agent/rookery-agent.mjs -o rookery-agent.mjs && node rookery-agent.mjs join https://control.example rkt_x',
    );
    expect(joinCommand('http://[::1]:4001', 'rkt_x')).toContain("join 'http://[::1]:4001' rkt_x");
    expect(joinCommand("http://x/$(touch a)'b", 'rkt_x')).toContain(`join 'http://x/$(touch a)'\\''b' rkt_x`);
  });
});
