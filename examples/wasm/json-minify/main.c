/*
 * Checks a JSON document (RFC 8259) strictly and writes it without blanks.
 *
 * A WASI command: standard input to standard output. What is wrong goes to standard error with its
 * place, and the exit code is 1; the host then records a rejection and drops the output so far.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_DEPTH = 256, BUFFER_BYTES = 64 << 10, END = -1 };

/* Large, because every flush is a host call, and those are counted. */
static char input_buffer[BUFFER_BYTES], output_buffer[BUFFER_BYTES];

static int next_byte;
static unsigned long line = 1, column = 1;

_Noreturn static void reject(const char *problem) {
    fprintf(stderr, "line %lu, column %lu: %s\n", line, column, problem);
    exit(1);
}

/* Takes the next byte without writing it. */
static void skip(void) {
    bool new_line = next_byte == '\n';
    line += new_line;
    column = new_line ? 1 : column + 1;
    next_byte = getchar();
}

/* Takes the next byte and writes it. */
static void keep(void) {
    putchar(next_byte);
    skip();
}

static void skip_blanks(void) {
    while (next_byte == ' ' || next_byte == '\t' || next_byte == '\n' || next_byte == '\r') {
        skip();
    }
}

static bool keep_if(int byte) {
    bool found = next_byte == byte;
    if (found) keep();
    return found;
}

static void keep_word(const char *word) {
    for (; *word != '\0'; word++) {
        if (!keep_if(*word)) reject("expected a value");
    }
}

static bool is_digit(int byte) {
    return byte >= '0' && byte <= '9';
}

static void keep_digits(void) {
    if (!is_digit(next_byte)) reject("expected a digit");
    while (is_digit(next_byte)) keep();
}

static void keep_number(void) {
    bool negative = keep_if('-');
    if (!negative && !is_digit(next_byte)) reject("expected a value");
    if (!keep_if('0')) keep_digits();
    if (keep_if('.')) keep_digits();
    if (keep_if('e') || keep_if('E')) {
        if (!keep_if('+')) keep_if('-');
        keep_digits();
    }
}

static void keep_between(int lowest, int highest) {
    if (next_byte < lowest || next_byte > highest) reject("the text is not UTF-8");
    keep();
}

/* One character beyond ASCII; the ranges shut out overlong forms and surrogates (Unicode, table 3-7). */
static void keep_multibyte(void) {
    int lead = next_byte;
    keep_between(0xC2, 0xF4);
    if (lead >= 0xE0) {
        int lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        int highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        keep_between(lowest, highest);
    }
    if (lead >= 0xF0) keep_between(0x80, 0xBF);
    keep_between(0x80, 0xBF);
}

static bool is_hex(int byte) {
    return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

static void keep_escape(void) {
    keep();
    switch (next_byte) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        keep();
        return;
    case 'u':
        keep();
        for (int place = 0; place < 4; place++) {
            if (!is_hex(next_byte)) reject("expected four hexadecimal digits");
            keep();
        }
        return;
    default:
        reject("there is no such escape");
    }
}

static void keep_string(void) {
    if (!keep_if('"')) reject("expected a name in quotes");
    while (next_byte != '"') {
        if (next_byte == END) reject("the text does not end");
        if (next_byte < ' ') reject("a control character must be escaped");
        if (next_byte == '\\') {
            keep_escape();
        } else if (next_byte > 0x7F) {
            keep_multibyte();
        } else {
            keep();
        }
    }
    keep();
}

static void keep_value(int depth);

static void keep_member(int depth) {
    skip_blanks();
    keep_string();
    skip_blanks();
    if (!keep_if(':')) reject("expected a colon");
    keep_value(depth);
}

/* A list or an object: items with commas between, up to the closing bracket. */
static void keep_items(int closing, void (*keep_item)(int), int depth) {
    if (depth > MAX_DEPTH) reject("nested too deeply");
    keep();
    skip_blanks();
    if (keep_if(closing)) return;
    do {
        keep_item(depth + 1);
    } while (keep_if(','));
    if (!keep_if(closing)) reject("expected a comma or the closing bracket");
}

static void keep_value(int depth) {
    skip_blanks();
    switch (next_byte) {
    case '{': keep_items('}', keep_member, depth); break;
    case '[': keep_items(']', keep_value, depth); break;
    case '"': keep_string(); break;
    case 't': keep_word("true"); break;
    case 'f': keep_word("false"); break;
    case 'n': keep_word("null"); break;
    case END: reject("expected a value, found the end");
    default: keep_number();
    }
    skip_blanks();
}

int main(void) {
    setvbuf(stdin, input_buffer, _IOFBF, sizeof input_buffer);
    setvbuf(stdout, output_buffer, _IOFBF, sizeof output_buffer);
    next_byte = getchar();
    keep_value(0);
    if (next_byte != END) reject("expected nothing more");
    return fflush(stdout) == 0 ? 0 : 1;
}
