import { pino, type Logger, type LoggerOptions } from 'pino';
import pretty from 'pino-pretty';

export type { Logger };

/**
 * A process's root logger. A log line is a constant message plus attributes; parts of the process
 * take `logger.child({ part })`.
 *
 * @param name  which process speaks: `control`, `gateway`, `agent`.
 * @param level `trace` … `fatal` or `silent`; default `info`.
 * @param format `json` for machines (default when stderr is not a terminal) or `pretty`.
 */
export function createLogger(
  name: string,
  level = 'info',
  format: 'json' | 'pretty' = process.stderr.isTTY ? 'pretty' : 'json',
): Logger {
  const options: LoggerOptions = { name, level, redact: ['token', '*.token', 'password', '*.password'] };
  // stderr, because stdout belongs to what a command prints for its user.
  return format === 'pretty'
    ? pino(options, pretty({ destination: 2, ignore: 'pid,hostname', sync: true }))
    : pino(options, pino.destination({ dest: 2, sync: true }));
}

/** A logger that says nothing, for tests. */
export const silentLogger = (): Logger => pino({ level: 'silent' });
