import { existsSync } from 'node:fs';
import type { AgentConfig } from '../config.ts';
import { CredentialStore } from '../enrolment/credential.store.ts';
import { OciRuntimeFinder } from '../runtime/runtime-finder.ts';
import { SandboxStore } from '../sandboxes/sandbox.store.ts';
import { lockHolder } from '@rookery/wire/process-lock.ts';
import { stateDirAt } from '../state-dir/state-dir.ts';
import { silentLogger } from '@rookery/wire/log.ts';

/** `rookery-agent status`: what is saved on this machine. Reads only, and asks nobody. @returns the exit code. */
export async function status(
  config: AgentConfig,
  { json, say }: { json: boolean; say: (line: string) => void },
): Promise<number> {
  const state = stateDirAt(config.stateDir);
  const log = silentLogger();
  const store = new CredentialStore(state);
  const credentials = await store.load();
  const standing = await store.loadStatus();
  const pid = await lockHolder(state.lock);
  const finding = await new OciRuntimeFinder(config, state, log).find();
  // Also without credentials: they may be of a host that has left.
  const records = existsSync(state.sandboxes) ? await new SandboxStore(state.sandboxes, log).load() : [];
  const report = {
    stateDir: state.root,
    registered: credentials !== undefined,
    hostId: credentials?.hostId ?? null,
    hostName: credentials?.hostName ?? null,
    controlUrl: credentials?.controlUrl ?? null,
    credentialsExpireAt: credentials ? new Date(credentials.refreshTokenExpiresAt).toISOString() : null,
    credentialState: credentials ? standing.state : null,
    credentialProblem: credentials ? standing.reason : null,
    degraded: credentials !== undefined && standing.state !== 'ACTIVE',
    agentPid: pid ?? null,
    runtime: finding.runtime ? `${finding.runtime.name} ${finding.runtime.version}` : null,
    problem: finding.runtime ? null : finding.problem,
    sandboxes: records.map(({ spec, status, statusReason, generation, desiredState }) => {
      return { id: spec.id, name: spec.name, status, statusReason, desiredState, generation };
    }),
  };
  if (json) {
    say(JSON.stringify(report, null, 2));
    return 0;
  }
  if (credentials) {
    say(`Host:      ${credentials.hostName} (${credentials.hostId})`);
    say(`Control:   ${credentials.controlUrl}`);
    if (report.degraded) {
      say(`Degraded:  control refuses its credentials since ${standing.since}: ${standing.reason}`);
      say(`           Make a new token for this host, and run: rookery-agent join ${credentials.controlUrl} <token>`);
    }
  } else {
    if (standing.state === 'LEFT') say(`Left:      ${standing.reason} (${standing.since})`);
    say('Host:      not registered; run: rookery-agent join <url> <token>');
  }
  say(`Agent:     ${pid === undefined ? 'not running' : `running (pid ${pid})`}`);
  say(`Runtime:   ${report.runtime ?? report.problem}`);
  say(`State:     ${state.root}`);
  say(`Sandboxes: ${records.length === 0 ? 'none' : records.length}`);
  for (const { id, name, status: word, statusReason } of report.sandboxes) {
    say(`  ${id}  ${name}  ${word}${statusReason === null ? '' : ` (${statusReason})`}`);
  }
  return 0;
}
