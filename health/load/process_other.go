//go:build !unix

package load

import (
	"errors"
	"time"
)

func processTime() (time.Duration, error) { return 0, errors.ErrUnsupported }

func descriptorLimit() (uint64, error) { return 0, errors.ErrUnsupported }
