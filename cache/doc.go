// Package cache is a shared HTTP cache (RFC 9111, RFC 5861): the rules as pure functions with Reasons, a memory store with a
// hard budget, and fills, by which any number of concurrent requests share one fetch.
//
// One request, as the pipeline makes it:
//
//	res := c.Lookup(now, key, r, policy)
//	Hit           → answer with EvaluateConditional, ParseRange and res.Object
//	Bypass        → forward the request as it is; after an unsafe method's answer, call Invalidate
//	OnlyIfCached  → 504
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
package cache
