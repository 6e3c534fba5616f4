// The same user for k6.
import { check } from 'k6';
import http from 'k6/http';

const ORDER = JSON.parse(open('../order.json'));
const PARAMETERS = { headers: { 'Content-Type': 'application/json' } };

export const options = { noCookiesReset: true };

let count = 0;

export default function () {
  const reply = http.post(`${__ENV.BENCH_URL}/visit`, JSON.stringify(ORDER), PARAMETERS);
  const before = count;
  count = reply.json().request;
  check(reply, {
    'it is accepted': (r) => r.status === 200,
    'it rises by one': () => count === before + 1,
  });
}
