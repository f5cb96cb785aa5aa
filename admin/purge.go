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
	var q cache.PurgeRequest
	if !questionOf(w, r, maxPurgeBody, &q) {
		return
	}
	result, err := s.Purger.Purge(q, "admin "+r.RemoteAddr)
	if err != nil {
		answer(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, http.StatusOK, result)
}

// questionOf reads what is asked for in JSON, or refuses it.
func questionOf(w http.ResponseWriter, r *http.Request, most int64, v any) bool {
	if err := fromBrowser(r); err != nil {
		answer(w, http.StatusForbidden, err)
		return false
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		answer(w, http.StatusUnsupportedMediaType, errors.New("the content type must be application/json"))
		return false
	}
	err := decodeStrictly(http.MaxBytesReader(w, r.Body, most), v)
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		answer(w, http.StatusRequestEntityTooLarge, err)
		return false
	}
	if err != nil {
		answer(w, http.StatusBadRequest, err)
		return false
	}
	return true
}

// decodeStrictly reads exactly one JSON value of known members.
func decodeStrictly(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		if err == nil {
			err = errors.New("there is more than one JSON value")
		}
		return err
	}
	return nil
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

func answer(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
