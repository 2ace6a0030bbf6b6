package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// currentTime is the time of a run: the date of its reports, and the time at which waivers expire. SOURCE_DATE_EPOCH sets it, so
// that the same input gives the same bytes on any day. A waiver that expired by the date of the report and a report that counts
// it would contradict each other, so there is only one time.
func currentTime() (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return time.Now(), nil
	}
	seconds, err := strconv.ParseUint(epoch, 10, 63)
	now := time.Unix(int64(seconds), 0).UTC()
	if err != nil || now.Year() > 9999 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH must be seconds since 1970, got %q", epoch)
	}
	return now, nil
}
