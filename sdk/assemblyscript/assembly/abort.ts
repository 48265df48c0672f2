/**
 * What AssemblyScript calls when an assertion or an array bound fails. Its own handler is an import
 * `env.abort`, which Stockade refuses; this one traps, and the host records a trap.
 *
 * Select it with `--use abort=~lib/stockade-guest/assembly/abort/abort`.
 */
export function abort(_message: string | null, _file: string | null, _line: u32, _column: u32): void {
  unreachable();
}
