// The same user for k6. Cookies are kept over iterations, as an iteration is a request here and not a user.
import { check } from 'k6';
import http from 'k6/http';

export const options = { noCookiesReset: true };

let count = 0;

export default function () {
  const reply = http.get(`${__ENV.BENCH_URL}/visit`);
  const before = count;
  count = reply.json().request;
  check(count, { 'it rises by one': (value) => value === before + 1 });
}
