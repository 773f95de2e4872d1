import type { ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';

/**
 * Runs the command and then writes its exit code to descriptor 3; a line before says that it has begun.
 *
 * `runc exec` itself only ends when the last holder of the command's output is gone, so a server
 * started in the background would keep its exit code from us for ever. `exec` in a subshell and not
 * a plain `"$@"`, which would run the shell's own `echo` or `kill` in place of the programs.
 *
 * What this shell has to say itself ("Killed", "exec: not found") is not the command's and goes
 * nowhere; that there is no such program is said by one line of ours.
 */
export const REPORT_EXIT = `
exec 4>&2 2>/dev/null
echo started >&3
set -f
case $1 in
*/*) __rookery_file=$1 ;;
*)
  __rookery_file=
  IFS=:
  for __rookery_dir in $PATH; do
    [ -f "\${__rookery_dir:-.}/$1" ] || continue
    __rookery_file=\${__rookery_dir:-.}/$1
    [ -x "$__rookery_file" ] && break
  done
  ;;
esac
unset IFS
if [ ! -e "$__rookery_file" ]; then
  printf '%s: not found\\n' "$1" >&4
  echo 127 >&3
elif [ -d "$__rookery_file" ] || [ ! -x "$__rookery_file" ]; then
  printf '%s: not executable\\n' "$1" >&4
  echo 126 >&3
else
  (exec "$@" 2>&4 3>&- 4>&-)
  echo $? >&3
fi`;

/** The environment variable that marks the processes of an exec where there is no cgroup to tell them by. */
export const MARKER = 'ROOKERY_EXEC';

/** Kills what carries the mark in `$1`, again and again until a round finds nothing. */
export const KILL_MARKED = `
for round in 1 2 3 4 5; do
  found=
  for process in /proc/[0-9]*; do
    tr '\\0' '\\n' 2>/dev/null < $process/environ | grep -qx "$1" && kill -9 \${process#/proc/} 2>/dev/null && found=yes
  done
  [ -n "$found" ] || exit 0
done`;

/**
 * Follows a command to its end.
 *
 * @param onStarted called when the command has begun, or is about to; never when the runtime could not start it.
 * @returns the command's exit code as reported on descriptor 3 or, where nothing reports, by the
 *   runtime; undefined when neither did.
 */
export async function exitCodeOf(child: ChildProcess, onStarted: () => void): Promise<number | undefined> {
  const reports = child.stdio[3] as Readable;
  const isReporting = child.spawnargs.includes(REPORT_EXIT);
  if (!isReporting) onStarted();
  return new Promise((resolve, reject) => {
    let text = '';
    reports.on('data', (chunk: Buffer) => {
      if (text === '') onStarted();
      text += chunk.toString();
      const code = /^started\n(\d+)\n$/.exec(text)?.[1];
      if (code !== undefined) resolve(Number(code));
    });
    reports.on('error', () => {});
    child.once('error', reject);
    // The report, if there is one, is in the pipe before the runtime ends: `close` comes after both.
    child.once('exit', (code) => {
      const fromRuntime = code === null || isReporting ? undefined : code;
      if (reports.readableEnded || reports.destroyed) resolve(fromRuntime);
      else reports.once('close', () => resolve(fromRuntime));
    });
  });
}
