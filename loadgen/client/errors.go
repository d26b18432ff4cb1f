package client

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrorCode names the kind of an operation's error, for counting: Kafka's name of the code that the broker answered with, or
// "timeout" (no answer in time), "abandoned" (none before the run ended), "connection" (it was lost, or could not be made), "behind" (a batch of the same producer failed before it).
func ErrorCode(err error) string {
	if k, ok := errors.AsType[*kerr.Error](err); ok {
		return k.Message
	}
	switch {
	case errors.Is(err, ErrTimeout), errors.Is(err, kgo.ErrRecordTimeout):
		return "timeout"
	case errors.Is(err, ErrAbandoned):
		return "abandoned"
	case errors.Is(err, ErrBehind):
		return "behind"
	}
	return "connection"
}
