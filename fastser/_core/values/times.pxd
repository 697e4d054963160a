"""Dates and times as Arrow has them: days and microseconds since 1970-01-01, wall clock."""

from cpython.datetime cimport (
    PyDateTime_DATE_GET_HOUR, PyDateTime_DATE_GET_MICROSECOND, PyDateTime_DATE_GET_MINUTE,
    PyDateTime_DATE_GET_SECOND, PyDateTime_GET_DAY, PyDateTime_GET_MONTH, PyDateTime_GET_YEAR,
    PyDateTime_TIME_GET_HOUR, PyDateTime_TIME_GET_MICROSECOND, PyDateTime_TIME_GET_MINUTE,
    PyDateTime_TIME_GET_SECOND,
)
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t


cdef enum:
    DAY_FIRST = -719162       # 0001-01-01
    DAY_LAST = 2932896        # 9999-12-31


cdef extern from *:
    """
    #include <datetime.h>
    #define FASTSER_DAY_MICROSECONDS 86400000000LL
    #define fastser_new_datetime(y, mo, d, h, mi, s, us, zone, fold) \\
        PyDateTimeAPI->DateTime_FromDateAndTimeAndFold(y, mo, d, h, mi, s, us, zone, fold, PyDateTimeAPI->DateTimeType)
    #define fastser_new_time(h, mi, s, us, zone, fold) \\
        PyDateTimeAPI->Time_FromTimeAndFold(h, mi, s, us, zone, fold, PyDateTimeAPI->TimeType)
    #define fastser_new_date(y, mo, d) PyDateTimeAPI->Date_FromDate(y, mo, d, PyDateTimeAPI->DateType)
    #define fastser_new_timedelta(d, s, us) PyDateTimeAPI->Delta_FromDelta(d, s, us, 1, PyDateTimeAPI->DeltaType)
    """
    const long long FASTSER_DAY_MICROSECONDS
    PyObject* fastser_new_datetime(int year, int month, int day, int hour, int minute, int second, int us, PyObject* zone, int fold) except NULL
    PyObject* fastser_new_time(int hour, int minute, int second, int us, PyObject* zone, int fold) except NULL
    PyObject* fastser_new_date(int year, int month, int day) except NULL
    PyObject* fastser_new_timedelta(int days, int seconds, int us) except NULL


cdef inline int32_t days_from_civil(int year, int month, int day) noexcept nogil:
    """Days since 1970-01-01 in the proleptic Gregorian calendar.

    Years begin in March, so that the leap day is a year's last; 400 years have 146097 days
    (the method of H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    """
    cdef int y = year - (month <= 2)
    cdef int era = y // 400
    cdef int year_of_era = y - era * 400
    cdef int day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


cdef inline void civil_from_days(int32_t days, int* year, int* month, int* day) noexcept nogil:
    """The inverse of days_from_civil, for years 1 to 9999."""
    cdef int z = days + 719468
    cdef int era = z // 146097
    cdef int day_of_era = z - era * 146097
    cdef int year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    cdef int day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    cdef int shifted = (5 * day_of_year + 2) // 153
    day[0] = day_of_year - (153 * shifted + 2) // 5 + 1
    month[0] = shifted + 3 if shifted < 10 else shifted - 9
    year[0] = year_of_era + era * 400 + (month[0] <= 2)


cdef inline int32_t date_days(PyObject* o) noexcept:
    return days_from_civil(
        PyDateTime_GET_YEAR(<object> o), PyDateTime_GET_MONTH(<object> o), PyDateTime_GET_DAY(<object> o))


cdef inline int64_t clock_microseconds(int hour, int minute, int second, int microsecond) noexcept nogil:
    return ((hour * 60 + minute) * 60 + second) * <int64_t> 1000000 + microsecond


cdef inline int64_t time_microseconds(PyObject* o) noexcept:
    return clock_microseconds(
        PyDateTime_TIME_GET_HOUR(<object> o), PyDateTime_TIME_GET_MINUTE(<object> o),
        PyDateTime_TIME_GET_SECOND(<object> o), PyDateTime_TIME_GET_MICROSECOND(<object> o))


cdef inline int64_t datetime_microseconds(PyObject* o) noexcept:
    return date_days(o) * FASTSER_DAY_MICROSECONDS + clock_microseconds(
        PyDateTime_DATE_GET_HOUR(<object> o), PyDateTime_DATE_GET_MINUTE(<object> o),
        PyDateTime_DATE_GET_SECOND(<object> o), PyDateTime_DATE_GET_MICROSECOND(<object> o))


cdef inline PyObject* datetime_of(int64_t value, PyObject* zone, int fold) except NULL:
    cdef int64_t days = value // FASTSER_DAY_MICROSECONDS, rest = value % FASTSER_DAY_MICROSECONDS
    cdef int year = 0, month = 0, day = 0
    if rest < 0:
        rest += FASTSER_DAY_MICROSECONDS
        days -= 1
    if not DAY_FIRST <= days <= DAY_LAST:
        raise ValueError(f"{value} microseconds since 1970 lie outside the years 1 to 9999")
    civil_from_days(<int32_t> days, &year, &month, &day)
    return fastser_new_datetime(
        year, month, day, <int> (rest // 3600000000LL), <int> (rest // 60000000LL % 60),
        <int> (rest // 1000000LL % 60), <int> (rest % 1000000LL), zone, fold)


cdef inline PyObject* time_of(int64_t value, PyObject* zone, int fold) except NULL:
    if not 0 <= value < FASTSER_DAY_MICROSECONDS:
        raise ValueError(f"{value} microseconds are no time of a day")
    return fastser_new_time(
        <int> (value // 3600000000LL), <int> (value // 60000000LL % 60),
        <int> (value // 1000000LL % 60), <int> (value % 1000000LL), zone, fold)


cdef inline PyObject* timedelta_of(int64_t value) except NULL:
    cdef int64_t days = value // FASTSER_DAY_MICROSECONDS, rest = value % FASTSER_DAY_MICROSECONDS
    if rest < 0:
        rest += FASTSER_DAY_MICROSECONDS
        days -= 1
    return fastser_new_timedelta(<int> days, <int> (rest // 1000000), <int> (rest % 1000000LL))


cdef inline PyObject* date_of(int32_t days) except NULL:
    cdef int year = 0, month = 0, day = 0
    if not DAY_FIRST <= days <= DAY_LAST:
        raise ValueError(f"{days} days since 1970 lie outside the years 1 to 9999")
    civil_from_days(days, &year, &month, &day)
    return fastser_new_date(year, month, day)
