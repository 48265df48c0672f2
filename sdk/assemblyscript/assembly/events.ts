/** Events in the run's record. Using this makes the module import `emit`, which needs the grant `emit`. */

import * as raw from "./raw";

/**
 * Adds an event. What does not fit into the run's bytes for events is dropped. A name that is empty
 * or longer than 64 bytes is a defect, and traps.
 */
export function emit(name: string, data: string): void {
  raw.emit(name, data);
}
