import { AgentEndpoint } from '@rookery/wire/endpoints.ts';

/** How long the address may take to answer, in ms; a person waits for a join command. */
const ANSWER_MS = 2_000;

/** How long a finding counts, in ms: making many hosts in a row is one question. */
const REMEMBERED_MS = 10_000;

export const JOIN_WARNINGS = ['AGENT_NOT_BUILT', 'AGENT_URL_LOCAL', 'AGENT_URL_UNREACHABLE'] as const;

/** Why a join command may not work where it is pasted. */
export interface JoinWarning {
  readonly code: (typeof JOIN_WARNINGS)[number];
  readonly message: string;
}

/**
 * Tries the address that join commands name, by the download that they begin with. It is the
 * operator's setting and may go through proxies that this process knows nothing of; one that does not
 * even answer from here is worth a word before somebody runs to another machine with it.
 */
export class AgentUrlCheck {
  readonly #agentUrl: () => string;
  readonly #isAgentBuilt: () => Promise<boolean>;
  #last: { at: number; warnings: Promise<JoinWarning[]> } | undefined;

  /** @param isAgentBuilt whether this process has an agent to hand out; another may be what answers at the address. */
  constructor(agentUrl: () => string, isAgentBuilt: () => Promise<boolean> = async () => true) {
    this.#agentUrl = agentUrl;
    this.#isAgentBuilt = isAgentBuilt;
  }

  /** What is wrong with the address; nothing when it is fine. Never rejects. */
  warnings(): Promise<JoinWarning[]> {
    if (!this.#last || Date.now() - this.#last.at > REMEMBERED_MS)
      this.#last = { at: Date.now(), warnings: this.#check() };
    return this.#last.warnings;
  }

  async #check(): Promise<JoinWarning[]> {
    const url = this.#agentUrl();
    const [problem, isBuilt] = await Promise.all([problemOf(url), this.#isAgentBuilt()]);
    const missing = isBuilt || problem?.code === 'AGENT_NOT_BUILT' ? undefined : notBuilt('This control plane');
    return [problem, missing, isLocal(url) ? local(url) : undefined].filter((warning) => warning !== undefined);
  }
}

async function problemOf(url: string): Promise<JoinWarning | undefined> {
  try {
    const response = await fetch(url + AgentEndpoint.bundle, {
      redirect: 'error',
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    await response.body?.cancel();
    if (response.ok && response.headers.get('content-type')?.startsWith('text/javascript')) return undefined;
    if (response.status === 503) return notBuilt(`The control plane at ${url}`);
    return unreachable(url, `something else answers there, with HTTP ${response.status}`);
  } catch (error) {
    const { name, cause, message } = error as Error;
    if (name === 'TimeoutError') return unreachable(url, `nothing answered in ${ANSWER_MS / 1_000} seconds`);
    return unreachable(url, (cause as Error | undefined)?.message || message);
  }
}

const notBuilt = (who: string): JoinWarning => ({
  code: 'AGENT_NOT_BUILT',
  message: `${who} has no agent to download; build it there with "npm run build".`,
});

const unreachable = (url: string, why: string): JoinWarning => ({
  code: 'AGENT_URL_UNREACHABLE',
  message: `${url}, which the join command names, cannot be reached from the control plane (${why}); set ROOKERY_AGENT_URL to the address by which machines reach port ROOKERY_AGENT_PORT.`,
});

const local = (url: string): JoinWarning => ({
  code: 'AGENT_URL_LOCAL',
  message: `${url} reaches the control plane only from its own machine; for others set ROOKERY_HOST=0.0.0.0, and ROOKERY_AGENT_URL to the address by which they reach it.`,
});

function isLocal(url: string): boolean {
  const { hostname } = new URL(url);
  return hostname === 'localhost' || hostname === '[::1]' || /^127\./.test(hostname);
}
