// Package bench puts load on an HTTP server and says what its clients would have noticed.
//
// The loop is open: requests arrive at a fixed rate whether or not earlier ones were answered, and a request's latency counts
// from the moment it was meant to start, so that a server that stalls can't hide the requests it kept from being sent.
//
// Nothing is retried behind the caller's back. HTTP/1.1 is spoken here on connections that this package dials (net/http
// serves as codec only, and its Transport, which repeats requests on connections that broke, is not used); HTTP/2 and
// HTTP/3 go through ClientConn.RoundTrip of golang.org/x/net/http2 and quic-go's http3, one layer below the Transports
// that retry. Repetition is an option, [Options.Retry], and is counted apart.
package bench
