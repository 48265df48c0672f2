import { encodeText } from "./text";

const OUTPUT: u8 = 0;
const REJECTION: u8 = 1;

/** What a task returns: its output, or why it says no. */
export class Answer {
  private constructor(
    readonly rejected: bool,
    readonly retryable: bool,
    readonly body: Uint8Array,
  ) {}

  /** The task's result. */
  static output(bytes: Uint8Array): Answer {
    return new Answer(false, false, bytes);
  }

  /** The task's result, as UTF-8. */
  static text(text: string): Answer {
    return new Answer(false, false, encodeText(text));
  }

  /** The same input will be rejected again. */
  static reject(message: string): Answer {
    return new Answer(true, false, encodeText(message));
  }

  /** Trying again later may help. */
  static rejectForNow(message: string): Answer {
    return new Answer(true, true, encodeText(message));
  }
}

/** Puts an answer into the bytes that the host reads. */
export function encodeAnswer(answer: Answer): Uint8Array {
  const head = answer.rejected ? 2 : 1;
  const frame = new Uint8Array(head + answer.body.length);
  frame[0] = answer.rejected ? REJECTION : OUTPUT;
  if (answer.rejected) frame[1] = answer.retryable ? 1 : 0;
  frame.set(answer.body, head);
  return frame;
}
