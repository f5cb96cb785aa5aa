package front

import (
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Check reads the certificates as Open does, and opens no socket.
func Check(cfg []ListenConfig, tlsCfg TLSConfig) error {
	if !needTLS(cfg) {
		return nil
	}
	_, err := loadCertificates(tlsCfg, time.Now(), slog.New(slog.DiscardHandler), metrics.NewSet())
	return err
}
