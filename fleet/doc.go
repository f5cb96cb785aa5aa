// Package fleet is what edges tell each other: each asks the others, at their unicast addresses, what they announce and what they
// want to do. Whether an edge may go is decided elsewhere, from a View.
//
// A question is an HTTP/1.1 GET of /fleet with a random nonce, signed with a key of the fleet's secret; the answer is a Report in JSON,
// signed together with the nonce. So what is believed was said by an edge that has the secret, after it was asked: an answer can't be
// forged or replayed. It can be read on its way: nothing is encrypted. No clock matters but each edge's own, and that only for how
// long something took.
//
// Nothing that is not heard is taken for granted: an edge that does not answer is silent, which is neither up nor down.
package fleet
