//go:build !race

package jwtcodec_test

const raceDetector = false
