/**
 * Write a Stockade task in AssemblyScript. A task is one function from bytes to an `Answer`; the
 * module's entry file exports the two functions of the ABI `stockade:v1`:
 *
 *     import { Answer, decodeText, respond } from "stockade-guest";
 *     export { stockade_v1_alloc } from "stockade-guest";
 *
 *     export function stockade_v1_run(pointer: usize, length: i32): u64 {
 *       return respond(pointer, length, shout);
 *     }
 *
 *     function shout(input: Uint8Array): Answer {
 *       const text = decodeText(input);
 *       return text === null ? Answer.reject("the input is not UTF-8") : Answer.text(text.toUpperCase());
 *     }
 */

export { Answer } from "./assembly/answer";
export { respond, stockade_v1_alloc } from "./assembly/raw";
export { HostError, Result } from "./assembly/reply";
export { decodeText, encodeText } from "./assembly/text";

import * as clock from "./assembly/clock";
import * as config from "./assembly/config";
import * as events from "./assembly/events";
import * as http from "./assembly/http";
import * as kv from "./assembly/kv";
import * as log from "./assembly/log";
import * as progress from "./assembly/progress";
import * as random from "./assembly/random";
import * as secrets from "./assembly/secrets";
import * as spans from "./assembly/spans";
export { clock, config, events, http, kv, log, progress, random, secrets, spans };

// Compiled in so that `asconfig.json` can select it.
import "./assembly/abort";
