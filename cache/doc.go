// Package cache is a shared HTTP cache (RFC 9111, RFC 5861): the rules as pure functions with Reasons, a memory store with a
// hard budget, and fills, by which any number of concurrent requests share one fetch.
//
// One request, as the pipeline makes it:
//
//	res := c.Lookup(now, key, r, policy)
//	Hit           → answer with EvaluateConditional, ParseRange, ParseRanges and res.Object
//	Bypass        → forward the request as it is; after an unsafe method's answer, call Invalidate,
//	                and Posted for one that may be stored all the same
//	OnlyIfCached  → 504
//	Part          → put together what res.Part has; what it lacks is fetched as below, with BeginPart and RespondPart
//	Stale         → when res.ServeStaleWhileRevalidate, answer with res.Object and do the rest in the background
//	Miss, Stale   → f, leader := c.Begin(now, key, r)
//	    leader    → fetch, then exactly one of f.Respond, f.NotModified, f.Fail
//	    others    → f.Wait
//
// What the leader sends to the origin is a GET or HEAD of the whole resource: without Range, If-Range and the client's own
// preconditions, and with Conditions(res.Object) when res.Object is not nil. The client's preconditions and range
// are evaluated against the object that comes of it.
//
// The leader's fetch must run on a context that does not end with its client: other clients read what it brings. It may be given
// up when Writer.Write returns ErrAbandoned. Every reader, the leader's client among them, reads from the Object at its own pace.
//
// The life of a fill:
//
//	begun ──Respond──▶ arriving ──Commit──▶ stored (in the index; found by Lookup)
//	  │                   │ └──too large──▶ passing through (current readers only, bounded window)
//	  │                   └──Abort──▶ failed (readers see the error, nothing is stored)
//	  ├──Respond, not storable──▶ refused (waiters fetch for themselves, the key is remembered for a while)
//	  ├──NotModified──▶ stored
//	  └──Fail──▶ failed (waiters see the error)
//
// Where the RFCs leave the choice:
//
//   - A request's no-cache and max-age=0 validate (as browsers' reloads expect), no-store goes past the cache, only-if-cached gets
//     504. A service may ignore them (request_directives), but for no-store and only-if-cached.
//   - Set-Cookie is stored where the origin states the freshness or says public, as for any other field, and never on heuristic or default
//     freshness (RFC 9111 §7.3). A service may refuse such responses, or strip the field (set_cookie).
//   - s-maxage forbids stale use (RFC 9111 §5.2.2.10), stale-while-revalidate and stale-if-error beside it included, unless the service has it
//     otherwise (stale_with_s_maxage); an origin that wants both says so with max-age, or with CDN-Cache-Control.
//   - When no origin can be reached, a stale response serves for a day unless its directives forbid it (stale_on_disconnect): the answer is
//     then a 504. An origin that answers with an error has been reached, and stale-if-error decides.
//   - A response with a lifetime that is over when it comes, and without a validator, is stored for those cases and for max-stale: whether a
//     second has passed on the way makes no difference to what is kept.
//   - A 304 is about the response whose validators were sent, whatever validators it has itself.
//   - The answer to a POST is stored where it is a 200 with explicit freshness and its own URL in Content-Location, never any other method's.
//   - A fresh variant in the one language that a request prefers to all others serves it, whatever else its Accept-Language says.
//   - Accept-Language and Accept-Charset are sets of members with weights: RFC 9110 §12.5.4 gives the order of members no meaning. An origin that
//     goes by the order all the same names another field in its Vary, or its service puts accept-language into the key.
//   - A request that no variant fits is fetched with the strong tags of those that are stored, 8 at most, and not those in a content coding that
//     it does not accept. A 304 with one of these tags stands for that variant; with none of them, the whole is fetched again.
//   - A date whose weekday is another date's is none.
//   - The service's default TTL is for statuses that report success or a lasting redirect, never for errors.
//   - A response that must be validated before every use is stored when it has a validator, but not shared as it arrives.
//   - A Range request of something that is not stored fetches that range, so that a part of a large file does not fetch it all. Several ranges
//     fetch the whole. Its If-Range goes along, so that one request brings what the client is to have.
//   - A 206 is stored by what its Content-Range says, when it is of one range and a known length, as far as its body goes; a body that is longer is
//     not. Of a 200 with a strong validator that breaks off, what has come is a part, if it is 16 KiB or more (prefix.go). Parts are put
//     together only with one strong validator: a strong entity tag, or without a tag a Last-Modified at least a second before Date. What is
//     missing is asked for with If-Range when it is one piece; else the client's range is fetched, or the whole.
//   - Several ranges of one object: at most 16, else the whole; what overlaps or adjoins is one; and the whole when that is no longer than the parts.
//   - Slices (Policy.Slice): see slice.go.
//   - What the origin has coded is never decoded. A client that does not accept the coding gets a variant of its own, which is fetched once, where the
//     origin varies by Accept-Encoding; where it does not, the client gets from the cache what the origin would send it: that may be a file whose
//     very bytes are wanted. Decoding would need a length, a tag, digests and ranges that the origin has never seen.
//   - If-Match and If-Unmodified-Since serve from the cache when the stored response meets them; else the origin answers.
package cache
