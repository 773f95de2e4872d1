type Version = readonly [major: number, minor: number, patch: number];

/**
 * The agents that this control plane gets along with: from the oldest whose protocol it still speaks to
 * anything of the newest's major version. Raise `newest` with every release of the agent, and `oldest` when a message of the protocol
 * stops being understood (docs/AGENT-PROTOCOL.md).
 */
export const SUPPORTED_AGENT_VERSIONS = { oldest: [0, 1, 0], newest: [0, 1, 0] } as const satisfies Record<
  string,
  Version
>;

export interface VersionSkew {
  readonly message: string;
  /** It cannot be relied on to do what it is told. */
  readonly isIncompatible: boolean;
}

/** How an agent's version differs from what control supports; undefined when it does not, or when it is a development build's. */
export function versionSkew(
  agentVersion: string | null,
  { oldest, newest }: { oldest: Version; newest: Version } = SUPPORTED_AGENT_VERSIONS,
): VersionSkew | undefined {
  const version = parse(agentVersion);
  if (!version) return undefined;
  const named = `The agent’s version ${version.join('.')} is`;
  if (compare(version, oldest) < 0) {
    return {
      message: `${named} too old for this control plane, which supports ${oldest.join('.')} and newer; upgrade the agent.`,
      isIncompatible: true,
    };
  }
  if (version[0] > newest[0]) {
    return {
      message: `${named} too new for this control plane, which knows ${newest.join('.')}; upgrade the control plane.`,
      isIncompatible: true,
    };
  }
  const [, minor] = version;
  if (version[0] === newest[0] && minor === newest[1]) return undefined;
  const isOlder = compare(version, newest) < 0;
  return {
    message: `${named} ${isOlder ? 'older' : 'newer'} than the ${newest.join('.')} that this control plane knows; upgrade the ${isOlder ? 'agent' : 'control plane'}.`,
    isIncompatible: false,
  };
}

function parse(text: string | null): Version | undefined {
  const parts = /^(\d{1,6})\.(\d{1,6})\.(\d{1,6})$/
    .exec(text ?? '')
    ?.slice(1)
    .map(Number);
  return parts as Version | undefined;
}

function compare(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}
