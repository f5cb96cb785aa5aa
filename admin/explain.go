package admin

import (
	"cmp"
	"errors"
	"net/http"
)

// Inspector says for /explain what is stored for a request; lines are its fields. The answer is written as JSON. The error says what is wrong with
// the question.
type Inspector interface {
	Inspect(method, url string, lines []string) (any, error)
}

// maxExplainFields bounds the fields of the request that /explain is asked about.
const maxExplainFields = 64

// explain serves GET /explain?url=…: with method= and any number of header=Name:%20value. It says what is stored now, and asks nobody.
func (s Source) explain(w http.ResponseWriter, r *http.Request) {
	if err := fromBrowser(r); err != nil {
		answer(w, http.StatusForbidden, err)
		return
	}
	q := r.URL.Query()
	if q.Get("url") == "" {
		answer(w, http.StatusBadRequest, errors.New("the url is missing: /explain?url=https://example.com/page"))
		return
	}
	if len(q["header"]) > maxExplainFields {
		answer(w, http.StatusBadRequest, errors.New("there are more than 64 header parameters"))
		return
	}
	found, err := s.Inspector.Inspect(cmp.Or(q.Get("method"), http.MethodGet), q.Get("url"), q["header"])
	if err != nil {
		answer(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, http.StatusOK, found)
}
