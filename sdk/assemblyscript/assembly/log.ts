/**
 * Lines for the invocation's log. Using any of these makes the module import `stockade:v1` `log`.
 */

import * as raw from "./raw";

/** Step by step. */
export function trace(message: string): void {
  raw.log(0, message);
}

/** For whoever looks for a fault. */
export function debug(message: string): void {
  raw.log(1, message);
}

/** The normal course of things. */
export function info(message: string): void {
  raw.log(2, message);
}

/** Odd, but the task goes on. */
export function warn(message: string): void {
  raw.log(3, message);
}

/** Something failed. */
export function error(message: string): void {
  raw.log(4, message);
}
