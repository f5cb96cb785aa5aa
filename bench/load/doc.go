// Package load puts as much load on an HTTP server as one core can make, and measures throughput, latency and what the server's process
// paid for it. It is the counterpart of package bench, which makes little load and records every request of it.
//
// The clients are its own and do no more than a measurement needs: a request is bytes made beforehand around a path, a response is
// checked for its status, its framing and its length, and its body is dropped. They check enough to notice every answer that is not what
// was asked for; they are no clients for anything else.
//
// A closed loop keeps a fixed number of requests in flight: it finds the most that a server can do. An open loop starts requests at a
// fixed rate, whatever became of earlier ones, and counts latency from the moment at which a request was meant to start, so that a
// server that stalls cannot hide the requests that it kept from being sent ("coordinated omission").
package load
