package survival

import (
	"io"

	"nearcast/internal/lab/figure"
)

// WriteJSON writes every sample and the verdicts for programs. Times are in milliseconds, those of a datagram in microseconds.
func (r Report) WriteJSON(w io.Writer) error {
	type row struct {
		Event    string           `json:"event"`
		Client   string           `json:"client"`
		Samples  []Sample         `json:"samples"`
		Verdicts []figure.Verdict `json:"verdicts"`
		Errors   []string         `json:"errors,omitempty"`
		Met      bool             `json:"met"`
	}
	out := struct {
		Rows    []row   `json:"rows"`
		Rate    float64 `json:"requests_per_second"`
		Took    float64 `json:"took_seconds"`
		Machine string  `json:"machine,omitempty"`
		Replays int     `json:"played_again"` // runs in which the machine stood still, which are not in here
		Met     bool    `json:"met"`
	}{[]row{}, r.Rate, r.Took.Seconds(), r.Machine, r.Replayed, !r.Missed()}
	for _, e := range r.Events {
		for _, c := range r.cells(e) {
			j := row{Event: e.Name, Client: c.client, Samples: []Sample{}, Verdicts: []figure.Verdict{}, Met: c.met()}
			for _, run := range c.runs {
				if run.Sample != nil {
					j.Samples = append(j.Samples, run.Sample)
				}
			}
			for _, v := range c.verdicts {
				j.Verdicts = append(j.Verdicts, v.Verdict(v.Target.String()))
			}
			for _, err := range c.errors() {
				j.Errors = append(j.Errors, oneLine(err))
			}
			out.Rows = append(out.Rows, j)
		}
	}
	return figure.WriteJSON(w, out)
}
