package admin

import (
	"errors"
	"net/http"
	"net/netip"
)

// Orderer takes the orders of /drain and /undrain. by is who gave them.
type Orderer interface {
	// Drain takes routes away. An error that is a Refused is a safety guard's; any other says what is wrong with the order.
	Drain(o DrainOrder, by string) error
	// Undrain takes the order back.
	Undrain(by string) error
}

// DrainOrder is what POST /drain asks for.
type DrainOrder struct {
	Prefixes []netip.Prefix `json:"prefixes"` // left out or null: all
	Why      string         `json:"why"`
	Force    bool           `json:"force"` // though a guard is against it
}

// Refused is an order that a safety guard is against; it can be given with force.
type Refused struct{ Err error }

func (r *Refused) Error() string { return r.Err.Error() }
func (r *Refused) Unwrap() error { return r.Err }

// maxOrderBody bounds the body of an order.
const maxOrderBody = 64 << 10

// drain serves POST /drain: a DrainOrder in JSON, answered by {} at once; /status shows how far it has come. A guard's refusal is a 409.
func (s Source) drain(w http.ResponseWriter, r *http.Request) {
	var o DrainOrder
	if !questionOf(w, r, maxOrderBody, &o) {
		return
	}
	if o.Prefixes != nil && len(o.Prefixes) == 0 { // a list that somebody's script found nothing for
		answer(w, http.StatusBadRequest, errors.New("prefixes is an empty list; leave it out for all"))
		return
	}
	obeyed(w, s.Orderer.Drain(o, "admin "+r.RemoteAddr))
}

// undrain serves POST /undrain, with {} as its body.
func (s Source) undrain(w http.ResponseWriter, r *http.Request) {
	if questionOf(w, r, maxOrderBody, &struct{}{}) {
		obeyed(w, s.Orderer.Undrain("admin "+r.RemoteAddr))
	}
}

func obeyed(w http.ResponseWriter, err error) {
	switch refused := new(Refused); {
	case errors.As(err, &refused):
		answer(w, http.StatusConflict, err)
	case err != nil:
		answer(w, http.StatusBadRequest, err)
	default:
		writeJSON(w, http.StatusOK, struct{}{})
	}
}
