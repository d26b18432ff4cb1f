// Package kcode is the errors that brokers answer with, and where.
//
// The problem: a code says what is wrong and not with which partition; and whether a driver may go on depends on the code alone.
package kcode

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"ackline/loadgen/place"
)

// Error is an error code that a broker answered with.
type Error struct {
	Request   string
	Topic     string // where there are several
	Partition int32
	Err       *kerr.Error
}

// Of is the error that a code other than 0 means.
func Of(request string, topics place.Topics, at int32, code int16) *Error {
	err := kerr.TypedErrorForCode(code)
	if err == nil {
		err = kerr.UnknownServerError
	}
	return &Error{Request: request, Topic: topics.Named(at), Partition: topics.Partition(at), Err: err}
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s on %s: %s: %s", e.Request, place.Name(e.Topic, e.Partition), e.Err.Message, e.Err.Description)
}

// Unwrap returns the code's meaning.
func (e *Error) Unwrap() error { return e.Err }
