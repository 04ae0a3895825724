"""Where the sun stands: the formulas of NOAA's Solar Calculator, after Meeus, Astronomical Algorithms (1998), ch. 25.

https://gml.noaa.gov/grad/solcalc/calcdetails.html. Within 0.02° of NREL's algorithm (Reda and Andreas 2004) between
1901 and 2099; what air bends (0.5° at the horizon) is left out.
"""

from __future__ import annotations

from math import asin, cos, degrees, radians, sin, tan

SECONDS_A_DAY = 86400
EPOCH, J2000, CENTURY = 2440587.5, 2451545.0, 36525.0  # Julian days of 1970-01-01 0 h and 2000-01-01 12 h; days


def altitude(latitude: float, longitude: float, seconds: float) -> float:
    """Degrees of the sun's middle above the horizon of a place (degrees), at a time (seconds since 1970, UTC)."""
    day = seconds / SECONDS_A_DAY
    century = (EPOCH + day - J2000) / CENTURY
    mean_longitude = radians((280.46646 + century * (36000.76983 + century * 0.0003032)) % 360)
    anomaly = radians(357.52911 + century * (35999.05029 - century * 0.0001537))
    eccentricity = 0.016708634 - century * (0.000042037 + century * 0.0000001267)
    centre = (
        sin(anomaly) * (1.914602 - century * (0.004817 + century * 0.000014))
        + sin(2 * anomaly) * (0.019993 - century * 0.000101)
        + sin(3 * anomaly) * 0.000289
    )
    node = radians(125.04 - 1934.136 * century)
    apparent = mean_longitude + radians(centre - 0.00569 - 0.00478 * sin(node))
    mean_tilt = 23 + (26 + (21.448 - century * (46.815 + century * (0.00059 - century * 0.001813))) / 60) / 60
    tilt = radians(mean_tilt + 0.00256 * cos(node))
    declination = asin(sin(tilt) * sin(apparent))

    stretch = tan(tilt / 2) ** 2
    equation_of_time_degrees = degrees(
        stretch * sin(2 * mean_longitude)
        - 2 * eccentricity * sin(anomaly)
        + 4 * eccentricity * stretch * sin(anomaly) * cos(2 * mean_longitude)
        - 0.5 * stretch**2 * sin(4 * mean_longitude)
        - 1.25 * eccentricity**2 * sin(2 * anomaly)
    )
    hour_angle = radians(360 * (day % 1) - 180 + equation_of_time_degrees + longitude)
    north = radians(latitude)
    height = sin(north) * sin(declination) + cos(north) * cos(declination) * cos(hour_angle)
    return degrees(asin(max(-1.0, min(1.0, height))))
