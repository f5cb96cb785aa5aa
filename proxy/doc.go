// Package proxy takes a request from the client to a response. One exchange is a list of steps, each in the file of its name:
//
//	admit    limits, malformed requests, loops (CDN-Loop), redirects to https, the edge's question to itself
//	locate   client address → place, when a step first asks
//	route    host and path → service, in a table that never changes
//	lookup   what the cache can do: hit, stale, miss, bypass
//	shed     under load a share is refused what needs an origin, in the order of its use to others (also failfast)
//	forward  the nearest healthy origin, another one where a retry is safe
//	store    the response tees into a fill that every waiter shares
//	respond  the header section, the body, errors
//	record   one log line and the metrics, always
//
// Quick goes the first four of them for a request that the cache may answer, and where it can, answers from memory: in the caller's
// goroutine, without a wait and without an allocation. What it has found is not looked for again by Serve.
//
// A request to change to WebSocket leaves the list after route: tunnel forwards it and carries bytes both ways.
package proxy
