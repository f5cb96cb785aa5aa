package admin

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"nearcast/cache"
)

// Purger does what /purge asks for. by is who asked. The error says what is wrong with the request as a whole; nothing was done then.
type Purger interface {
	Purge(q cache.PurgeRequest, by string) (cache.PurgeResult, error)
}

// maxPurgeBody bounds the body of a request for purges.
const maxPurgeBody = 1 << 20

// purge serves POST /purge: a cache.PurgeRequest in JSON, answered by a cache.PurgeResult, or {"error": …} with 4xx.
func (s Source) purge(w http.ResponseWriter, r *http.Request) {
	if err := fromBrowser(r); err != nil {
		answer(w, http.StatusForbidden, err)
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		answer(w, http.StatusUnsupportedMediaType, errors.New("the content type must be application/json"))
		return
	}
	q, err := decodePurge(http.MaxBytesReader(w, r.Body, maxPurgeBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		answer(w, http.StatusRequestEntityTooLarge, err)
		return
	}
	if err != nil {
		answer(w, http.StatusBadRequest, err)
		return
	}
	result, err := s.Purger.Purge(q, "admin "+r.RemoteAddr)
	if err != nil {
		answer(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, http.StatusOK, result)
}

// fromBrowser refuses what a page in an operator's browser sends: it carries these fields, and a page can't keep them out.
func fromBrowser(r *http.Request) error {
	for _, name := range [...]string{"Origin", "Sec-Fetch-Site"} {
		if r.Header.Get(name) != "" {
			return errors.New("requests from browsers are refused: they have " + name)
		}
	}
	return nil
}

// decodePurge reads exactly one object of known members.
func decodePurge(r io.Reader) (q cache.PurgeRequest, err error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return q, err
	}
	if _, err := d.Token(); err != io.EOF {
		if err == nil {
			err = errors.New("there is more than one JSON value")
		}
		return q, err
	}
	return q, nil
}

func answer(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
