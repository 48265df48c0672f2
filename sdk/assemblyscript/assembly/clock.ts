/** The time. Using this makes the module import `now_ms`, which needs the grant `now_ms`. */

import * as raw from "./raw";

/**
 * Unix time in milliseconds. It is no stopwatch: while the task computes it goes by the fuel used, and
 * it catches up with the world's after a call that waited for something outside.
 */
export function nowMs(): i64 {
  return raw.nowMs();
}
