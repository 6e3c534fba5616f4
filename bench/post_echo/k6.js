// The same user for k6.
import { check } from 'k6';
import http from 'k6/http';

const ORDER = JSON.parse(open('../order.json'));
const PARAMETERS = { headers: { 'Content-Type': 'application/json' } };

export const options = { noCookiesReset: true };

let orders = 0;

export default function () {
  orders += 1;
  const order = JSON.stringify(Object.assign({}, ORDER, { number: orders }));
  const reply = http.post(`${__ENV.BENCH_URL}/echo`, order, PARAMETERS);
  const body = reply.json();
  check(reply, {
    'it is accepted': (r) => r.status === 200,
    'it is the order': () => body.number === orders,
  });
}
