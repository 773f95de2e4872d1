import SchemaBuilder from '@pothos/core';
import { RookeryError } from '@rookery/wire/errors.ts';
import type { GraphQLSchema } from 'graphql';
import type { HostCredentials } from '../enrolment/credential.issuer.ts';
import { REFUSALS } from '../enrolment/credential.state.ts';
import type { AuthenticatedHost, Enrolment } from '../enrolment/enrolment.service.ts';
import type { ControlKey } from '../../kernel/signing-keys.ts';
import { AGENT_CONDITION_TYPES } from '../hosts/host.state.ts';
import { hostSpecsSchema, hostUsageSchema, machineSchema } from '../hosts/host.specs.ts';
import type { Convergence } from '../sandboxes/convergence.service.ts';
import { ERROR_CAUSES, OBSERVED_STATUSES } from '../sandboxes/sandbox.state.ts';
import { instanceSchema, observedSandboxSchema } from '../sandboxes/sandbox.report.ts';
import type { Hearing, TunnelBooks } from '../tunnels/tunnel.books.ts';
import type { Departures } from './departure.service.ts';
import type { Heartbeats } from './heartbeat.service.ts';

export interface AgentChannelServices {
  readonly enrolment: Enrolment;
  readonly departures: Departures;
  readonly heartbeats: Heartbeats;
  readonly convergence: Convergence;
  readonly tunnels: TunnelBooks;
  /** The heartbeat interval that agents are told, in ms. */
  readonly heartbeatMs: number;
  /** Silence after which a host is lost, in ms. */
  readonly leaseMs: number;
  /** Hosts whose channel this control process holds. */
  readonly connectedHosts: () => number;
}

export interface AgentChannelContext {
  /** Null on the three open mutations. */
  readonly host: AuthenticatedHost | null;
  /** Where the request came from. */
  readonly address: string | null;
  readonly services: AgentChannelServices;
}

/** Share of the interval by which an answer may shift the next beat, so that a fleet does not beat in step. */
const JITTER = 0.1;

/**
 * Agents that a control process wants back in one second after a restart. Each opens two sockets, is looked up, admitted
 * and proven, which takes some 3 ms of a core (`bench/fleet.ts`).
 */
const RECONNECTS_PER_SECOND = 200;

/** Least time over which agents come back, in ms. */
const MIN_RECONNECT_SPREAD_MS = 500;

/**
 * Longest time over which agents come back, as a share of the lease. An agent whose first dial fails is there some two
 * spreads after the break, and control may have been away meanwhile.
 */
const MAX_RECONNECT_SPREAD = 1 / 3;

/** Over how long so many agents should come back, in ms. */
export const reconnectSpreadMs = (hosts: number, leaseMs: number): number => {
  const spreadMs = Math.max((hosts / RECONNECTS_PER_SECOND) * 1_000, MIN_RECONNECT_SPREAD_MS);
  return Math.round(Math.min(spreadMs, leaseMs * MAX_RECONNECT_SPREAD));
};

const NOT_HEARD: Record<Exclude<Hearing, 'HEARD' | 'ENDED'>, string> = {
  QUARANTINED: 'The host is in quarantine: its owner has to say which of two agents it is.',
  OTHER_AGENT: 'Another agent of this host is connected.',
};

/** The private schema that agents call. Never part of the supergraph; printed to `control/agent-channel.graphql`. */
export function agentChannelSchema(): GraphQLSchema {
  const builder = new SchemaBuilder<{
    Context: AgentChannelContext;
    DefaultFieldNullability: false;
    Scalars: { ID: { Input: string; Output: string }; DateTime: { Input: Date; Output: Date } };
  }>({ defaultFieldNullability: false });

  builder.scalarType('DateTime', {
    description: 'A moment, in ISO 8601 with milliseconds, UTC.',
    serialize: (value) => value.toISOString(),
    parseValue: (value) => {
      const date = new Date(String(value));
      if (Number.isNaN(date.getTime())) throw new RookeryError('BAD_USER_INPUT', 'A DateTime is a string in ISO 8601.');
      return date;
    },
  });

  const AgentConditionType = builder.enumType('AgentConditionType', { values: AGENT_CONDITION_TYPES });
  const ObservedStatus = builder.enumType('ObservedStatus', { values: OBSERVED_STATUSES });

  const ErrorCause = builder.enumType('ErrorCause', {
    description: 'HOST: another host may do better. SANDBOX: what was asked for cannot be had.',
    values: ERROR_CAUSES,
  });

  const RuntimeInput = builder.inputType('RuntimeInput', {
    fields: (t) => ({ name: t.string({ required: true }), version: t.string({ required: true }) }),
  });
  const AgentConditionInput = builder.inputType('AgentConditionInput', {
    description: 'Something about the machine that people should know, with the command that mends it.',
    fields: (t) => ({
      type: t.field({ type: AgentConditionType, required: true }),
      message: t.string({ required: true }),
    }),
  });
  const HostSpecsInput = builder.inputType('HostSpecsInput', {
    description: 'What the agent says about its machine.',
    fields: (t) => ({
      hostname: t.string({ required: true }),
      arch: t.string({ required: true }),
      os: t.string({ required: true }),
      kernel: t.string({ required: true }),
      cpuCores: t.int({ required: true }),
      memoryMb: t.int({ required: true }),
      diskGb: t.int({ required: true }),
      agentVersion: t.string({ required: true }),
      bootId: t.string({ required: true }),
      machineId: t.string({
        description:
          'The machine’s lasting identity, 64 characters at most; null when it has none that survives a reboot.',
      }),
      runtime: t.field({ type: RuntimeInput, description: 'Null when there is none that works.' }),
      conditions: t.field({ type: [AgentConditionInput], required: true }),
      provider: t.string({ description: 'Where the machine is, when its operator says so.' }),
      availabilityZone: t.string(),
      templates: t.stringList({
        description: 'Templates that sandboxes can be made of here; only "host" when not given.',
      }),
    }),
  });
  const RegisterHostInput = builder.inputType('RegisterHostInput', {
    fields: (t) => ({
      token: t.string({ required: true }),
      publicKey: t.string({ required: true, description: 'Raw Ed25519 public key (32 bytes), base64url.' }),
      proof: t.string({
        required: true,
        description:
          'Compact JWS (EdDSA) by that key over {"purpose":"register","token_sha256":base64url(sha256(token)),"seq":n}; n is one more than that of the request of this host which was granted last.',
      }),
      hostId: t.id({
        description: 'The host that this machine is already. The token of another host is refused, and not spent.',
      }),
      specs: t.field({ type: HostSpecsInput, required: true }),
    }),
  });
  const RefreshHostCredentialsInput = builder.inputType('RefreshHostCredentialsInput', {
    fields: (t) => ({
      refreshToken: t.string({ required: true }),
      proof: t.string({
        required: true,
        description:
          'Compact JWS (EdDSA) by the host’s key over {"purpose":"refresh","token_sha256":base64url(sha256(refreshToken)),"seq":n}; n is one more than that of the request of this host which was granted last.',
      }),
      bootId: t.string({ required: true }),
      machineId: t.string({ description: 'As in `HostSpecsInput`.' }),
    }),
  });
  const LeaveFleetInput = builder.inputType('LeaveFleetInput', {
    fields: (t) => ({
      accessToken: t.string({ required: true }),
      proof: t.string({
        required: true,
        description:
          'Compact JWS (EdDSA) by the host’s key over {"purpose":"leave","token_sha256":base64url(sha256(accessToken))}.',
      }),
    }),
  });
  const HeartbeatInput = builder.inputType('HeartbeatInput', {
    fields: (t) => ({
      instance: t.id({ required: true, description: 'The agent process, as in `Inventory` of the tunnel.' }),
      specs: t.field({ type: HostSpecsInput, required: true }),
      load1: t.float({ required: true, description: 'One-minute load average.' }),
      memoryUsedMb: t.int({ required: true }),
      diskUsedMb: t.int({ required: true }),
      inventoryDigest: t.string({
        required: true,
        description: 'SHA-256 (hex) over the lines "id generation status\\n" of all sandboxes, sorted by id.',
      }),
      sandboxCount: t.int({ required: true }),
    }),
  });
  const ObservedSandboxInput = builder.inputType('ObservedSandboxInput', {
    fields: (t) => ({
      id: t.id({ required: true }),
      generation: t.int({ required: true, description: 'The newest that the agent has carried out.' }),
      status: t.field({ type: ObservedStatus, required: true }),
      statusReason: t.string(),
      startedAt: t.field({ type: 'DateTime' }),
      lastActiveAt: t.field({ type: 'DateTime' }),
      autoPaused: t.boolean({
        description: 'Paused by the host because it was idle; said until a newer generation acknowledges it.',
      }),
      errorCause: t.field({ type: ErrorCause, description: 'Of ERROR.' }),
    }),
  });
  const ReportSandboxesInput = builder.inputType('ReportSandboxesInput', {
    fields: (t) => ({
      instance: t.id({
        required: true,
        description: 'As in `HeartbeatInput`. While another agent has the tunnel, or in quarantine, it is a CONFLICT.',
      }),
      epoch: t.float({
        required: true,
        description:
          'A whole number, up to 2^53. Strictly growing per agent state directory; an older one than the last taken is ignored.',
      }),
      full: t.boolean({
        required: true,
        description: 'True: this is everything the host has. False: only these changed.',
      }),
      sandboxes: t.field({ type: [ObservedSandboxInput], required: true }),
    }),
  });

  const ControlKeyRef = builder.objectRef<ControlKey>('ControlKey').implement({
    description: 'A key that control signs with.',
    fields: (t) => ({
      kid: t.exposeString('kid'),
      publicKey: t.exposeString('publicKey', { description: 'Raw Ed25519 public key (32 bytes), base64url.' }),
    }),
  });
  const HostCredentialsRef = builder.objectRef<HostCredentials>('HostCredentials').implement({
    description: 'What a host proves itself with from now on.',
    fields: (t) => ({
      hostId: t.exposeID('hostId'),
      hostName: t.exposeString('hostName'),
      accessToken: t.exposeString('accessToken'),
      accessTokenExpiresInSeconds: t.exposeInt('accessTokenExpiresInSeconds'),
      refreshToken: t.exposeString('refreshToken'),
      refreshTokenExpiresInSeconds: t.exposeInt('refreshTokenExpiresInSeconds'),
      controlKeys: t.field({
        type: [ControlKeyRef],
        description: 'By these, and no others, the agent believes that its host was deleted.',
        resolve: ({ controlKeys }) => [...controlKeys],
      }),
    }),
  });
  const HeartbeatAck = builder
    .objectRef<{ nextHeartbeatMs: number; wantInventory: boolean; reconnectSpreadMs: number; controlTime: Date }>(
      'HeartbeatAck',
    )
    .implement({
      fields: (t) => ({
        nextHeartbeatMs: t.exposeInt('nextHeartbeatMs', { description: 'When to beat again.' }),
        wantInventory: t.exposeBoolean('wantInventory', { description: 'Answer with a full `reportSandboxes`.' }),
        reconnectSpreadMs: t.exposeInt('reconnectSpreadMs', {
          description: 'When a connection breaks: dial again after a time drawn evenly from this.',
        }),
        controlTime: t.expose('controlTime', { type: 'DateTime' }),
      }),
    });
  const ReportSandboxesAck = builder.objectRef<{ epoch: number }>('ReportSandboxesAck').implement({
    fields: (t) => ({
      epoch: t.exposeFloat('epoch', {
        description:
          'The newest that control knows of. An agent that is below it, because its state directory is an older copy, goes on above it and reports again.',
      }),
    }),
  });

  builder.queryType({
    fields: (t) => ({
      hostId: t.id({
        description: 'The host that the caller is authenticated as.',
        resolve: (_root, _args, context) => authenticated(context).hostId,
      }),
      sandboxesToRun: t.idList({
        description:
          'Of these sandboxes, those that the host should have running now. Asked before it resumes what it has paused by its own policy.',
        args: { ids: t.arg.idList({ required: true }) },
        resolve: (_root, { ids }, context) =>
          context.services.convergence.toRun(authenticated(context).hostId, ids.map(String)),
      }),
    }),
  });

  builder.mutationType({
    fields: (t) => ({
      registerHost: t.field({
        type: HostCredentialsRef,
        description: 'Spends a registration token. Open to anyone who has one.',
        args: { input: t.arg({ type: RegisterHostInput, required: true }) },
        resolve: (_root, { input }, { services, address }) =>
          services.enrolment.register({ ...input, specs: hostSpecsSchema.parse(input.specs), address }),
      }),
      refreshHostCredentials: t.field({
        type: HostCredentialsRef,
        description: 'Renews credentials. Open to anyone who has a refresh token and the host’s key.',
        args: { input: t.arg({ type: RefreshHostCredentialsInput, required: true }) },
        resolve: (_root, { input }, { services, address }) =>
          services.enrolment.refresh({ ...input, ...machineSchema.parse(input), address }),
      }),
      leaveFleet: t.id({
        description:
          'Says that the host leaves for good: it is unreachable at once, and its credentials end. Open to anyone who has them, and repeatable. Answers with the host’s id.',
        args: { input: t.arg({ type: LeaveFleetInput, required: true }) },
        resolve: async (_root, { input }, { services, address }) =>
          (await services.departures.leave({ ...input, address })).hostId,
      }),
      heartbeat: t.field({
        type: HeartbeatAck,
        description: 'Renews the host’s lease. Answered once it is durable.',
        args: { input: t.arg({ type: HeartbeatInput, required: true }) },
        resolve: async (_root, { input }, context) => {
          const host = authenticated(context);
          const { hostId, familyId } = host;
          const { heartbeats, heartbeatMs, leaseMs, connectedHosts, enrolment } = context.services;
          const usage = hostUsageSchema.parse(input);
          const specs = hostSpecsSchema.parse(input.specs);
          await enrolment.sighted(host, { ...specs, address: context.address });
          const instance = instanceSchema.parse(input.instance);
          const { knownDigest, isHeard } = await heartbeats.beat({ hostId, familyId, instance, ...usage }, specs);
          return {
            nextHeartbeatMs: Math.round(heartbeatMs * (1 - JITTER + 2 * JITTER * Math.random())),
            wantInventory: isHeard && knownDigest !== input.inventoryDigest,
            reconnectSpreadMs: reconnectSpreadMs(connectedHosts(), leaseMs),
            controlTime: new Date(),
          };
        },
      }),
      reportSandboxes: t.field({
        type: ReportSandboxesAck,
        description: 'Says what sandboxes are, at once when one changed and in full when asked.',
        args: { input: t.arg({ type: ReportSandboxesInput, required: true }) },
        resolve: async (_root, { input }, context) => {
          const { hostId, familyId } = authenticated(context);
          const { convergence, heartbeats, tunnels } = context.services;
          const { epoch, full } = input;
          const hearing = await tunnels.hearing(hostId, instanceSchema.parse(input.instance), familyId);
          if (hearing === 'ENDED')
            throw new RookeryError('UNAUTHENTICATED', REFUSALS.CREDENTIALS_REPLACED, {
              reason: 'CREDENTIALS_REPLACED',
            });
          if (hearing !== 'HEARD') throw new RookeryError('CONFLICT', NOT_HEARD[hearing]);
          const sandboxes = input.sandboxes.map((sandbox) => observedSandboxSchema.parse({ ...sandbox, epoch }));
          if (!full) {
            await convergence.report(hostId, sandboxes);
            return { epoch };
          }
          await convergence.reconcile(hostId, { epoch, sandboxes });
          return { epoch: Math.max(epoch, await heartbeats.newestEpoch(hostId)) };
        },
      }),
    }),
  });

  return builder.toSchema();
}

function authenticated({ host }: AgentChannelContext): AuthenticatedHost {
  if (!host) throw new RookeryError('UNAUTHENTICATED', 'This needs the host’s access token.');
  return host;
}
