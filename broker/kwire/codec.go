package kwire

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Decode checks the body with Bound and decodes it with kmsg. What it returns does not alias the frame, except the
// byte fields (the records of a Produce). The error is a *BoundError or a *VersionError.
func Decode(h Header) (kmsg.Request, error) {
	if err := Bound(h.Key, h.Version, h.Body); err != nil {
		return nil, err
	}
	r := kmsg.RequestForKey(h.Key)
	r.SetVersion(h.Version)
	if err := r.ReadFrom(h.Body); err != nil {
		// A null where none is allowed: Bound lets it pass.
		return nil, &BoundError{Key: h.Key, Version: h.Version, Length: len(h.Body), Reason: err.Error()}
	}
	return r, nil
}

// AppendResponse appends the whole frame of a response, its length included, to dst. The version is that of the
// request, with one exception: an ApiVersions request whose version is not served is answered in version 0.
func AppendResponse(dst []byte, h Header, r kmsg.Response) []byte {
	if r.Key() != h.Key {
		panic(fmt.Sprintf("kwire: response of key %d to a request of key %d", r.Key(), h.Key))
	}
	version := h.Version
	if a := lookup(h.Key); a == nil || version < a.Min || version > a.Max {
		if h.Key != KeyApiVersions {
			panic(fmt.Sprintf("kwire: response to key %d version %d, which is not served", h.Key, h.Version))
		}
		version = 0
	}
	r.SetVersion(version)
	at := len(dst)
	dst = r.AppendTo(BeginResponse(dst, h))
	EndResponse(dst, at)
	return dst
}
