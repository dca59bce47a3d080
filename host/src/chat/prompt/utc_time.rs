//! Formats the time in UTC.

/// A time in UTC.
#[derive(Debug)]
pub(super) struct UtcTime {
    /// Days since 1970.
    days: i64,
    /// Seconds of the day.
    secs: i64,
}

impl UtcTime {
    pub(super) fn new(secs_since_1970: i64) -> Self {
        Self {
            days: secs_since_1970.div_euclid(86_400),
            secs: secs_since_1970.rem_euclid(86_400),
        }
    }

    /// Such as `2026-11-22`.
    ///
    /// Computes with years that begin in March, so that a leap day is the last day of its year.
    pub(super) fn date(&self) -> String {
        const DAYS_OF_400_YEARS: i64 = 146_097;
        let days_since_year_0 = self.days + 719_468;
        let era = days_since_year_0.div_euclid(DAYS_OF_400_YEARS);
        let day_of_era = days_since_year_0.rem_euclid(DAYS_OF_400_YEARS);
        let year =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let (calendar_year, month) = match month_from_march {
            ..10 => (year, month_from_march + 3),
            _ => (year + 1, month_from_march - 9),
        };
        format!("{:04}-{month:02}-{day:02}", era * 400 + calendar_year)
    }

    /// Such as `09:05:01 PM`.
    pub(super) fn clock(&self) -> String {
        let (hour, minute, second) = (self.secs / 3600, self.secs / 60 % 60, self.secs % 60);
        let half = if hour < 12 { "AM" } else { "PM" };
        let hour_of_half = if hour % 12 == 0 { 12 } else { hour % 12 };
        format!("{hour_of_half:02}:{minute:02}:{second:02} {half}")
    }

    pub(super) fn weekday(&self) -> &'static str {
        match (self.days + 4).rem_euclid(7) {
            0 => "Sunday",
            1 => "Monday",
            2 => "Tuesday",
            3 => "Wednesday",
            4 => "Thursday",
            5 => "Friday",
            _ => "Saturday",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_time_formats_dates_and_clock() {
        for (secs, date, clock) in [
            (0, "1970-01-01", "12:00:00 AM"),
            (-1, "1969-12-31", "11:59:59 PM"),
            (4_107_542_399, "2100-02-28", "11:59:59 PM"),
            (4_107_542_400, "2100-03-01", "12:00:00 AM"),
        ] {
            let time = UtcTime::new(secs);
            assert_eq!((time.date().as_str(), time.clock().as_str()), (date, clock));
        }
    }
}
