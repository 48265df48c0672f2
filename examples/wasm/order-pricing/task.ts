/** Prices an order: volume discounts a line, then the customer's tier, then a coupon, then shipping. */

import { Answer, decodeText, respond } from "stockade-guest";
import { quote } from "./json";
import { Line, Order, OrderReader } from "./order";

export { stockade_v1_alloc } from "stockade-guest";

export function stockade_v1_run(pointer: usize, length: i32): u64 {
  return respond(pointer, length, price);
}

const SHIPPING_CENTS: i64 = 490;
const FREE_SHIPPING_FROM_CENTS: i64 = 5000;
const COUPON_FROM_CENTS: i64 = 10000;

const tierPercents = new Map<string, i64>();
tierPercents.set("standard", 0);
tierPercents.set("silver", 1);
tierPercents.set("gold", 3);

const couponPercents = new Map<string, i64>();
couponPercents.set("SPRING10", 10);
couponPercents.set("WELCOME5", 5);

function price(input: Uint8Array): Answer {
  const source = decodeText(input);
  if (source === null) return Answer.reject("the input is not UTF-8");
  const reader = new OrderReader();
  const order = reader.read(source);
  if (reader.problem != "") return Answer.reject(reader.problem);
  if (!tierPercents.has(order.tier)) return Answer.reject("there is no such tier");
  if (order.coupon != "" && !couponPercents.has(order.coupon)) {
    return Answer.reject("there is no such coupon");
  }
  return Answer.text(render(order));
}

function render(order: Order): string {
  const lines: string[] = [];
  let subtotal: i64 = 0;
  for (let index = 0; index < order.lines.length; index++) {
    const line = order.lines[index];
    subtotal += lineTotal(line);
    lines.push(renderLine(line));
  }
  const tier = percentOf(subtotal, tierPercents.get(order.tier));
  const coupon = couponDiscount(order.coupon, subtotal - tier);
  const goods = subtotal - tier - coupon;
  const shipping = goods < FREE_SHIPPING_FROM_CENTS ? SHIPPING_CENTS : 0;
  return `{
  "order": ${quote(order.id)},
  "lines": [
${lines.join(",\n")}
  ],
  "subtotal_cents": ${subtotal},
  "tier_discount_cents": ${tier},
  "coupon_discount_cents": ${coupon},
  "shipping_cents": ${shipping},
  "total_cents": ${goods + shipping}
}
`;
}

function renderLine(line: Line): string {
  const sku = quote(line.sku);
  const percent = volumePercent(line.quantity);
  const total = lineTotal(line);
  return `    {"sku": ${sku}, "quantity": ${line.quantity}, "discount_percent": ${percent}, "total_cents": ${total}}`;
}

function lineTotal(line: Line): i64 {
  const full = line.quantity * line.unitCents;
  return full - percentOf(full, volumePercent(line.quantity));
}

function volumePercent(quantity: i64): i64 {
  return quantity >= 50 ? 10 : quantity >= 10 ? 5 : 0;
}

function couponDiscount(coupon: string, goods: i64): i64 {
  if (coupon == "" || goods < COUPON_FROM_CENTS) return 0;
  return percentOf(goods, couponPercents.get(coupon));
}

/** Rounded half up to a whole cent; money never becomes a float. */
function percentOf(cents: i64, percent: i64): i64 {
  return (cents * percent + 50) / 100;
}
